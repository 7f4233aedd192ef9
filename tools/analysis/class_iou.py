"""Draws the IoU of every class as bars, sorted, for one or several runs.

Example:
    python tools/test.py CONFIG CHECKPOINT --out maps/code
    python tools/analysis/class_iou.py CONFIG CoDe=maps/code
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from analysis_options import OUT, count_pixels, make_parser, read_runs, save_picture, say_left_out
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from run_or_explain import run_or_explain

PER_COLUMN = 50


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__, runs=True)
    parser.add_argument(
        '--sort',
        choices=['iou', 'difference'],
        default='iou',
        help='by the IoU of the first run, or by how much the second run is better',
    )
    parser.add_argument('--top', type=int, help='only the first and the last so many classes')
    parser.add_argument('--out', type=Path, default=OUT / 'class_iou', help='folder of the results')
    return parser.parse_args()


def class_order(ious: Mapping[str, np.ndarray], sort: str, top: int | None) -> list[int]:
    """Labels in drawing order; those without a value (NaN) are left out."""
    values, *others = ious.values()
    if sort == 'difference':
        if not others:
            raise ValueError('--sort difference: expected at least two runs, but got one')
        values = others[0] - values
    order = [i for i in np.argsort(-values, kind='stable').tolist() if not np.isnan(values[i])]
    if top is not None and 2 * top < len(order):
        order = order[:top] + order[-top:]
    return order


def draw_class_ious(
    runs: Mapping[str, np.ndarray], classes: Sequence[str], order: Sequence[int]
) -> Figure:
    """Draw horizontal bars, one group per class; many classes take several columns.

    The legend gives every run's mean over the classes that it has a value for.

    Args:
        runs (Mapping[str, np.ndarray]): Title -> (n,) IoU in percent, NaN where a class is in
            neither truth nor prediction.
        classes (Sequence[str]): The n names.
        order (Sequence[int]): Labels from top to bottom; those left out are not drawn.
    """
    if not order:
        raise ValueError('expected at least one class with an IoU, but got none')
    columns = -(-len(order) // PER_COLUMN)
    lines = -(-len(order) // columns)
    # inches: bars of one height whatever the number of classes and runs
    row = 0.12 + 0.11 * len(runs)
    size = (5.2 * columns, 0.8 + 0.2 * len(runs) + row * lines)
    figure = Figure(figsize=size, dpi=100, layout='constrained')
    highest = np.nanmax([np.asarray(ious)[order] for ious in runs.values()], initial=10.0)
    for i, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        _draw_bars(axes, runs, classes, order[i * lines : (i + 1) * lines])
        axes.set_xlim(0, 1.12 * highest)
        axes.set_ylim(lines - 0.4, -0.6)  # best on top; columns share one scale
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc='outside upper left', ncols=columns, fontsize=9, frameon=False)
    return figure


def _draw_bars(axes, runs, classes, labels) -> None:
    from code_mm.visualization import distinct_palette

    height = 0.8 / len(runs)
    places = np.arange(len(labels))
    for j, (title, ious) in enumerate(runs.items()):
        colour = np.array(distinct_palette(len(runs))[j]) / 255
        values = np.asarray(ious)[labels]
        texts = ['no pixels' if np.isnan(value) else f'{value:.1f}' for value in values]
        bars = axes.barh(
            places - 0.4 + height * (j + 0.5),
            np.nan_to_num(values),
            height=height * 0.9,
            color=colour,
            label=f'{title}: mean {np.nanmean(ious):.1f}',
        )
        halo = [withStroke(linewidth=2, foreground='white')]
        axes.bar_label(bars, texts, padding=2, fontsize=6.5, path_effects=halo)
        axes.axvline(np.nanmean(ious), color=colour, linewidth=1, linestyle='--', zorder=0)
    names = [classes[label] for label in labels]
    axes.set_yticks(places, names, fontsize=8, parse_math=False)
    axes.set_xlabel('IoU in percent', fontsize=8)
    axes.tick_params(axis='x', labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)


def main() -> int:
    args = parse_args()
    from code_mm.evaluation import class_ious, write_result_table

    dataset, runs = read_runs(args)
    classes = dataset.metainfo['classes']
    counts = count_pixels(dataset, runs)
    ious = {title: 100 * class_ious(pixels) for title, pixels in counts.items()}
    order = class_order(ious, args.sort, args.top)
    rows = [{'class': classes[i], **{t: float(v[i]) for t, v in ious.items()}} for i in order]
    write_result_table(rows, args.out / 'class_iou')
    print(f'table: {args.out / "class_iou.md"} and .json')
    save_picture(draw_class_ious(ious, classes, order), args.out / 'class_iou.png')
    return say_left_out(*(saved.failed for saved in runs.values()))


if __name__ == '__main__':
    run_or_explain(main)
