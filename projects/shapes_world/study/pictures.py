"""Plots and example pictures of the study."""

from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
from matplotlib.figure import Figure
from PIL import Image

from code_mm.visualization import draw_side_by_side
from code_mm.visualization.panels import below
from projects.shapes_world import ShapesWorldDataset
from projects.shapes_world.runs import ROOT
from projects.shapes_world.study.results import METRICS

# Variants in the pictures, as these call them.
SHOWN = {'maskclip': 'MaskCLIP', 'segmenter_only': 'segmenter only', 'code': 'CoDe'}
READINGS = {'': '', '_pamr': ' + PAMR'}
NUM_EXAMPLES = 4
# Model -> its iterations, in multiples of the others' -> variant.
LONGER = {
    'image segmenter only': {1: 'segmenter_only', 2: 'segmenter_only_2x', 4: 'segmenter_only_4x'},
    'CoDe': {1: 'code', 2: 'code_2x', 4: 'code_4x'},
}


def draw_pictures(args: argparse.Namespace, study: dict, folders: dict, folder: Path) -> None:
    """Write every picture whose variants were run into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_main(study['variants'], folder / 'study_main.png')
    draw_hcl_weight(study['variants'], folder / 'study_hcl_weight.png')
    draw_longer(study['variants'], folder / 'study_longer.png')
    if all(folders.get(name) for name in SHOWN):
        rows = draw_examples(args, folders)
        # a palette: a tenth of the bytes
        picture = Image.fromarray(below(rows)).quantize(256, dither=Image.Dither.NONE)
        picture.save(folder / 'study_examples.png', optimize=True)


def draw_main(variants: dict, path: Path) -> None:
    """Bars of the main comparison: mean, standard deviation and every seed."""
    titles = {n + s: t + e for s, e in READINGS.items() for n, t in SHOWN.items()}
    titles = {name: title for name, title in titles.items() if name in variants}
    figure = Figure(figsize=(10, 2.8), dpi=100, layout='constrained')
    all_axes = figure.subplots(1, 3, sharey=True)
    for axes, (key, title) in zip(all_axes, list(METRICS.items())[:3], strict=True):
        for i, name in enumerate(titles):
            entry = variants[name][key]
            axes.barh(i, entry['mean'], xerr=entry['std'] or 0, color=f'C{i % 3}', capsize=3)
            axes.plot(entry['raw'], [i] * len(entry['raw']), 'k.', markersize=4)
        axes.set_title(title)
    all_axes[0].set_yticks(range(len(titles)), titles.values())
    all_axes[0].invert_yaxis()
    figure.savefig(path)


def draw_hcl_weight(variants: dict, path: Path) -> None:
    """Plot mIoU against the weight of the region-word loss; 0 is the segmenter alone."""
    weights = {0.0: 'segmenter_only', 0.5: 'code'}
    for name in variants:
        if name.startswith('hcl_weight_') and not name.endswith(('pamr', 'mix')):
            weights[float(name.removeprefix('hcl_weight_'))] = name
    figure = Figure(figsize=(8, 3.2), dpi=100, layout='constrained')
    for axes, (key, title) in zip(figure.subplots(1, 2), list(METRICS.items())[:2], strict=True):
        for suffix, label in (('', 'plain'), ('_pamr', 'PAMR')):
            named = {weight: name + suffix for weight, name in weights.items()}
            _draw_line(axes, variants, named, key, label)
        axes.set_xlabel('λ_hcl (0: image segmenter only)')
        axes.set_title(title)
        axes.legend()
    figure.savefig(path)


def draw_longer(variants: dict, path: Path) -> None:
    """Plot mIoU, without and with PAMR, against the length of the training."""
    figure = Figure(figsize=(12, 3.4), dpi=100, layout='constrained')
    panels = [(*metric, s) for s in READINGS for metric in list(METRICS.items())[:2]]
    for axes, (key, title, suffix) in zip(figure.subplots(1, 4), panels, strict=True):
        for curve, names in LONGER.items():
            named = {x: name + suffix for x, name in names.items()}
            _draw_line(axes, variants, named, key, curve)
        axes.set_xlabel('length of the training')
        axes.set_title(title + READINGS[suffix], fontsize='medium')
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', ncols=4)
    figure.savefig(path)


def _draw_line(axes, variants: dict, named: dict[float, str], key: str, label: str) -> None:
    """Mean and standard deviation of those variants that were run, over what names them."""
    known = sorted((x, name) for x, name in named.items() if name in variants)
    if not known:
        return
    entries = [variants[name][key] for _, name in known]
    axes.errorbar(
        [x for x, _ in known],
        [entry['mean'] for entry in entries],
        [entry['std'] or 0 for entry in entries],
        marker='o',
        capsize=3,
        label=label,
    )


def draw_examples(args: argparse.Namespace, folders: dict) -> list:
    """Rows of image, truth and label maps, without and with PAMR, of the first seed."""
    data = ROOT / args.data / 'hard'
    meta = ShapesWorldDataset(level='hard', lazy_init=True).metainfo
    rows = []
    for path in sorted((data / 'images/validation').glob('*.jpg'))[:NUM_EXAMPLES]:
        label = path.with_suffix('.png').name
        maps = {}
        for suffix, ending in READINGS.items():
            for name, title in SHOWN.items():
                where = folders[name][0][1] / f'label_maps{suffix}' / label
                maps[title + ending] = mmcv.imread(where, 'unchanged')
        rows.append(
            draw_side_by_side(
                mmcv.imread(path, channel_order='rgb'),
                mmcv.imread(data / 'annotations/validation' / label, 'unchanged'),
                maps,
                meta['classes'],
                meta['palette'],
                panel=160,
            )
        )
    return rows
