"""Gathers what the runs measured into docs/study.json."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from statistics import fmean, stdev

import torch
from safetensors import safe_open

import code_mm
from projects.shapes_world.runs import ROOT
from projects.shapes_world.study.variants import Variant

CLIP_WEIGHTS = ROOT / 'projects/shapes_world/weights/small_clip_shapes.safetensors'
READING_TITLES = {'': '', '_pamr': ' + PAMR', '_mix': ' + mix', '_mix_pamr': ' + mix + PAMR'}
METRICS = {
    'miou_with_background': 'mIoU with background',
    'miou_without_background': 'mIoU without background',
    'auc': 'object AUC',
    'word_accuracy': 'word accuracy',
    'attribute_accuracy': 'attribute accuracy',
}
# For tables whose models differ in the level of their scores.
THRESHOLD_METRICS = {
    'miou_best_threshold': 'mIoU at the best threshold',
    'best_threshold': 'that threshold',
}


def gather(
    args: argparse.Namespace, variants: list[Variant], folders: dict, earlier: dict | None = None
) -> dict:
    """Everything measured, as it goes into docs/study.json.

    Args:
        args (argparse.Namespace): Options of run.py.
        variants (list[Variant]): Those of the study.
        folders (dict): Variant's name -> [(seed, folder of its run)].
        earlier (dict, optional): docs/study.json as it was. What it knows of runs that have no
            folder here stays, where it was made with the same settings.
    """
    made_by = provenance(args)
    known = runs_of(earlier['variants']) if earlier and same_settings(earlier, made_by) else {}
    found = {}
    for variant in variants:
        here: dict[str, dict] = {}
        for seed, folder in folders[variant.name]:
            for suffix, scores in json.loads((folder / 'readings.json').read_text()).items():
                here.setdefault(suffix, {})[seed] = scores
        for suffix in READING_TITLES:
            if 'mix' in suffix and 'readings' not in variant.groups:
                continue
            runs = known.get(variant.name + suffix, {}) | here.get(suffix, {})
            if runs:
                found[variant.name + suffix] = entry(variant, suffix, runs)
    seeds = sorted({seed for scores in found.values() for seed in scores['seeds']})
    return dict(made_by={**made_by, 'seeds': seeds}, clip=clip_recall(), variants=found)


def entry(variant: Variant, suffix: str, runs: dict[int, dict[str, float]]) -> dict:
    """One reading of a variant: its seeds, a summary of every metric that all of them have."""
    runs = dict(sorted(runs.items()))
    shared = set.intersection(*(set(scores) for scores in runs.values()))
    return dict(
        title=variant.title + READING_TITLES[suffix],
        level=variant.level,
        seeds=list(runs) if variant.trained else [],
        **{
            key: summary([scores[key] for scores in runs.values()])
            for key in next(iter(runs.values()))
            if key in shared
        },
    )


def runs_of(entries: dict[str, dict]) -> dict[str, dict[int, dict[str, float]]]:
    """Variant and reading -> seed (0 without training) -> metric -> value, out of ``entries``."""
    found = {}
    for name, scores in entries.items():
        raw = {key: value['raw'] for key, value in scores.items() if isinstance(value, dict)}
        found[name] = {
            seed: {key: math.nan if v[i] is None else v[i] for key, v in raw.items()}
            for i, seed in enumerate(scores['seeds'] or [0])
        }
    return found


def same_settings(earlier: dict, made_by: dict) -> bool:
    """Whether runs of an earlier study may stand in one table with those of ``made_by``."""
    before = {**earlier['made_by'], 'clip': earlier['clip']}
    now = {**made_by, 'clip': clip_recall()}
    other = [
        f'{key} {before.get(key)}, not {now[key]}' for key in now if before.get(key) != now[key]
    ]
    if other:
        print(f'the page keeps none of its earlier runs, they were made with {"; ".join(other)}')
    return not other


def summary(values: list[float]) -> dict:
    """Mean, standard deviation over seeds (null for one run) and the raw values."""
    values = [None if math.isnan(value) else round(value, 6) for value in values]
    known = [value for value in values if value is not None]
    return dict(
        mean=round(fmean(known), 6) if known else None,
        std=round(stdev(known), 6) if len(known) > 1 else None,
        raw=values,
    )


def difference(first: dict, second: dict, metric: str) -> dict | None:
    """Summary of ``first`` minus ``second``, over the seeds of both; no training has none."""
    if metric not in first or metric not in second:
        return None
    a, b = (dict(zip(run['seeds'], run[metric]['raw'], strict=False)) for run in (first, second))
    if not second['seeds']:
        b = dict.fromkeys(a, second[metric]['raw'][0])
    both = [seed for seed in a if seed in b]
    return summary([a[seed] - b[seed] for seed in both]) if both else None


def provenance(args: argparse.Namespace) -> dict:
    """What all runs of one study share."""
    return dict(
        code_mm=code_mm.__version__,
        torch=torch.__version__,
        machine=f'{platform.machine()}, {os.cpu_count()} cores',
        iterations=args.iters,
        batch_size=args.batch_size,
        training_images=args.train,
        validation_images=args.val,
    )


def clip_recall() -> dict:
    """Noun recall of the small CLIP, measured when its weights were exported."""
    metadata = safe_open(CLIP_WEIGHTS, 'np').metadata()
    return {key: float(metadata[key]) for key in sorted(metadata) if key.startswith('noun_recall')}
