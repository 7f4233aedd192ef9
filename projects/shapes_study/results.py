"""Gathers what the runs measured into docs/study.json."""

from __future__ import annotations

import argparse
import json
import math
import platform
import shlex
import sys
from pathlib import Path
from statistics import fmean, stdev

from variants import Variant

ROOT = Path(__file__).resolve().parents[2]
CLIP_WEIGHTS = ROOT / 'configs/clip/weights/small_clip_shapes.safetensors'
READING_TITLES = {'': '', '_pamr': ' + PAMR', '_mix': ' + mix', '_mix_pamr': ' + mix + PAMR'}
METRICS = {
    'miou_with_background': 'mIoU with background',
    'miou_without_background': 'mIoU without background',
    'auc': 'object AUC',
    'word_accuracy': 'word accuracy',
    'attribute_accuracy': 'attribute accuracy',
}
# Of true_regions.py; shares of the objects' regions that are recognised.
REGION_METRICS = {
    'region_recall_pooled': 'pooled features',
    'region_recall_pooled_rim': 'pooled, with a rim',
    'region_recall_highlighted': 'highlighted image',
    'region_recall_highlighted_rim': 'highlighted, with a rim',
}


def gather(args: argparse.Namespace, variants: list[Variant], seeds: dict) -> dict:
    """Everything measured, as it goes into docs/study.json.

    Args:
        args: Options of run.py.
        variants: Those of the study.
        seeds: Variant's name -> [(seed, folder of its run)].
    """
    found = {}
    for variant in variants:
        by_reading: dict[str, list] = {}
        for seed, folder in seeds[variant.name]:
            for suffix, scores in scores_of(folder).items():
                if 'mix' not in suffix or 'readings' in variant.groups:
                    by_reading.setdefault(suffix, []).append((seed, scores))
        for suffix, runs in by_reading.items():
            found[variant.name + suffix] = dict(
                title=variant.title + READING_TITLES[suffix],
                level=variant.level,
                seeds=[seed for seed, _ in runs] if variant.trained else [],
                **{
                    key: summary([scores[key] for _, scores in runs])
                    for key in runs[0][1]
                    if all(key in scores for _, scores in runs)
                },
            )
    trained = {seed for v in variants if v.trained for seed, _ in seeds[v.name]}
    return dict(made_by=provenance(args, sorted(trained)), clip=clip_recall(), variants=found)


def scores_of(folder: Path) -> dict[str, dict[str, float]]:
    """Reading -> metric -> value of one run; what is asked of the true regions needs no reading."""
    readings = json.loads((folder / 'readings.json').read_text())
    regions = folder / 'true_regions.json'
    if regions.exists():
        readings[''].update(json.loads(regions.read_text()))
    return readings


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


def provenance(args: argparse.Namespace, seeds: list[int]) -> dict:
    import os

    import torch

    import code_mm

    return dict(
        command=shlex.join(['python', *sys.argv]),
        code_mm=code_mm.__version__,
        torch=torch.__version__,
        machine=f'{platform.machine()}, {os.cpu_count()} cores',
        iterations=args.iters,
        batch_size=args.batch_size,
        validation_images=args.val,
        seeds=seeds,
    )


def clip_recall() -> dict:
    """Noun recall of the CLIP under everything, measured when its weights were exported."""
    from safetensors import safe_open

    metadata = safe_open(CLIP_WEIGHTS, 'np').metadata()
    return {key: float(metadata[key]) for key in sorted(metadata) if key.startswith('noun_recall')}
