"""The IoU of every class as bars, of one or several runs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from .figure_picture import figure_picture
from .palette import distinct_palette

_PER_COLUMN = 50


def draw_class_ious(
    runs: Mapping[str, np.ndarray], classes: Sequence[str], order: Sequence[int] | None = None
) -> np.ndarray:
    """Draw horizontal bars, one group per class; many classes take several columns.

    The legend gives every run's mean over the classes that it has a value for.

    Args:
        runs (Mapping[str, np.ndarray]): Title -> (n,) IoU in percent, NaN where a class is in
            neither truth nor prediction.
        classes (Sequence[str]): The n names.
        order (Sequence[int], optional): Labels from top to bottom; those left out are not drawn.
            Default: :func:`order_by_iou` of the first run.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.

    Raises:
        ValueError: If there is no run or no class to draw, or sizes do not fit.
    """
    for title, ious in runs.items():
        if np.shape(ious) != (len(classes),):
            raise ValueError(
                f'expected {len(classes)} IoUs of {title!r}, one per class, but got '
                f'{np.shape(ious)}'
            )
    if not runs:
        raise ValueError('expected at least one run, but got none')
    order = order_by_iou(next(iter(runs.values()))) if order is None else list(order)
    if not order:
        raise ValueError('expected at least one class with an IoU, but got none')

    columns = -(-len(order) // _PER_COLUMN)
    lines = -(-len(order) // columns)
    # inches: bars of one height whatever the number of classes and runs
    row = 0.12 + 0.11 * len(runs)
    size = (5.2 * columns, 0.8 + 0.2 * len(runs) + row * lines)
    figure = Figure(figsize=size, dpi=100, layout='constrained')
    highest = np.nanmax([np.asarray(ious)[order] for ious in runs.values()], initial=10.0)
    for i, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        part = order[i * lines : (i + 1) * lines]
        _draw_column(axes, runs, classes, part, lines)
        axes.set_xlim(0, 1.12 * highest)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc='outside upper left', ncols=columns, fontsize=9, frameon=False)
    return figure_picture(figure)


def order_by_iou(ious: np.ndarray) -> list[int]:
    """Labels from the highest to the lowest IoU; those without a value (NaN) are left out."""
    order = np.argsort(-np.asarray(ious), kind='stable').tolist()
    return [label for label in order if not np.isnan(ious[label])]


def _draw_column(axes, runs, classes, labels, lines) -> None:
    height = 0.8 / len(runs)
    places, colours = np.arange(len(labels)), distinct_palette(len(runs))
    for j, (title, ious) in enumerate(runs.items()):
        colour = np.array(colours[j]) / 255
        values = np.asarray(ious)[labels]
        at = places - 0.4 + height * (j + 0.5)
        name = f'{title}: mean {np.nanmean(ious):.1f}'
        axes.barh(at, np.nan_to_num(values), height=height * 0.9, color=colour, label=name)
        for y, value in zip(at, values, strict=True):
            text = 'no pixels' if np.isnan(value) else f'{value:.1f}'
            at_end = dict(xytext=(2, -0.5), textcoords='offset points')
            label = axes.annotate(text, (np.nan_to_num(value), y), **at_end, va='center', size=6.5)
            label.set_path_effects([withStroke(linewidth=2, foreground='white')])
        axes.axvline(np.nanmean(ious), color=colour, linewidth=1, linestyle='--', zorder=0)
    axes.set_yticks(places, [classes[label] for label in labels], fontsize=8)
    axes.set_ylim(lines - 0.4, -0.6)  # best on top; columns share one scale
    axes.set_xlabel('IoU in percent', fontsize=8)
    axes.tick_params(axis='x', labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
