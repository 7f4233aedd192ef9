"""Plots and example pictures of the study."""

from __future__ import annotations

import argparse
from pathlib import Path

from results import METRICS, ROOT

EXAMPLES = ('maskclip', 'segmenter_only', 'code')  # variants in the example pictures
NUM_EXAMPLES = 6


def draw_pictures(args: argparse.Namespace, study: dict, seeds: dict, folder: Path) -> None:
    """Write every picture whose variants were run into ``folder``."""
    import mmcv

    from code_mm.visualization.panels import below

    folder.mkdir(parents=True, exist_ok=True)
    draw_main(study['variants'], folder / 'study_main.png')
    draw_hcl_weight(study['variants'], folder / 'study_hcl_weight.png')
    if all(seeds.get(name) for name in EXAMPLES):
        rows = draw_examples(args, seeds)
        mmcv.imwrite(below(rows)[..., ::-1], str(folder / 'study_examples.png'))


def draw_main(variants: dict, path: Path) -> None:
    """Bars of the main comparison: mean, standard deviation and every seed."""
    from matplotlib.figure import Figure

    names = [n + s for s in ('', '_pamr') for n in EXAMPLES if n + s in variants]
    if not names:
        return
    figure = Figure(figsize=(11, 3.4), dpi=100, layout='constrained')
    for axes, (key, title) in zip(figure.subplots(1, 3), list(METRICS.items())[:3], strict=True):
        for i, name in enumerate(names):
            entry = variants[name][key]
            axes.bar(i, entry['mean'], yerr=entry['std'] or 0, color=f'C{i % 3}', capsize=3)
            axes.plot([i] * len(entry['raw']), entry['raw'], 'k.', markersize=4)
        axes.set_title(title)
        labels = [variants[name]['title'].replace(' + ', '\n+ ') for name in names]
        axes.set_xticks(range(len(names)), labels, fontsize=6)
    figure.savefig(path)


def draw_hcl_weight(variants: dict, path: Path) -> None:
    """Plot mIoU against the weight of the region-word loss; 0 is the segmenter alone."""
    from matplotlib.figure import Figure

    weights = {0.0: 'segmenter_only', 0.5: 'code'}
    for name in variants:
        if name.startswith('hcl_weight_') and not name.endswith(('pamr', 'mix')):
            weights[float(name.removeprefix('hcl_weight_'))] = name
    figure = Figure(figsize=(8, 3.2), dpi=100, layout='constrained')
    for axes, (key, title) in zip(figure.subplots(1, 2), list(METRICS.items())[:2], strict=True):
        for suffix, label in (('', 'plain'), ('_pamr', 'PAMR')):
            known = sorted((w, n + suffix) for w, n in weights.items() if n + suffix in variants)
            if not known:
                continue
            entries = [variants[name][key] for _, name in known]
            axes.errorbar(
                [weight for weight, _ in known],
                [entry['mean'] for entry in entries],
                [entry['std'] or 0 for entry in entries],
                marker='o',
                capsize=3,
                label=label,
            )
        axes.set_xlabel('λ_hcl (0: image segmenter only)')
        axes.set_title(title)
        axes.legend()
    figure.savefig(path)


def draw_examples(args: argparse.Namespace, seeds: dict) -> list:
    """Rows of image, truth and label maps, without and with PAMR, of the first seed."""
    import mmcv

    from code_mm.datasets import ShapesWorldDataset
    from code_mm.visualization import draw_side_by_side

    data = ROOT / args.data / 'hard'
    meta = ShapesWorldDataset(level='hard', lazy_init=True).metainfo
    rows = []
    for path in sorted((data / 'images/validation').glob('*.jpg'))[:NUM_EXAMPLES]:
        label = path.with_suffix('.png').name
        maps = {}
        for suffix, ending in (('', ''), ('_pamr', ' + PAMR')):
            for name in EXAMPLES:
                where = seeds[name][0][1] / f'label_maps{suffix}' / label
                maps[name + ending] = mmcv.imread(where, 'unchanged')
        rows.append(
            draw_side_by_side(
                mmcv.imread(path, channel_order='rgb'),
                mmcv.imread(data / 'annotations/validation' / label, 'unchanged'),
                maps,
                meta['classes'],
                meta['palette'],
                panel=128,
            )
        )
    return rows
