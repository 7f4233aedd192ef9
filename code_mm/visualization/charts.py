"""Charts of matplotlib as arrays, without a window: IoUs, confusion, noun frequencies."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from .colours import distinct_palette

OTHER = '(all others)'
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
        ValueError: If there is no class to draw.
    """
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
        _draw_bars(axes, runs, classes, order[i * lines : (i + 1) * lines], lines)
        axes.set_xlim(0, 1.12 * highest)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc='outside upper left', ncols=columns, fontsize=9, frameon=False)
    return _picture(figure)


def order_by_iou(ious: np.ndarray) -> list[int]:
    """Labels from the highest to the lowest IoU; those without a value (NaN) are left out."""
    order = np.argsort(-np.asarray(ious), kind='stable').tolist()
    return [label for label in order if not np.isnan(ious[label])]


def _draw_bars(axes, runs, classes, labels, lines) -> None:
    height = 0.8 / len(runs)
    places = np.arange(len(labels))
    for j, (title, ious) in enumerate(runs.items()):
        colour = np.array(distinct_palette(len(runs))[j]) / 255
        values = np.asarray(ious)[labels]
        texts = ['no pixels' if np.isnan(value) else f'{value:.1f}' for value in values]
        name = f'{title}: mean {np.nanmean(ious):.1f}'
        bars = axes.barh(
            places - 0.4 + height * (j + 0.5),
            np.nan_to_num(values),
            height=height * 0.9,
            color=colour,
            label=name,
        )
        halo = [withStroke(linewidth=2, foreground='white')]
        axes.bar_label(bars, texts, padding=2, fontsize=6.5, path_effects=halo)
        axes.axvline(np.nanmean(ious), color=colour, linewidth=1, linestyle='--', zorder=0)
    axes.set_yticks(places, [_plain(classes[label]) for label in labels], fontsize=8)
    axes.set_ylim(lines - 0.4, -0.6)  # best on top; columns share one scale
    axes.set_xlabel('IoU in percent', fontsize=8)
    axes.tick_params(axis='x', labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)


def draw_confusion(
    counts: np.ndarray, classes: Sequence[str], shown: Sequence[int] | None = None, title: str = ''
) -> np.ndarray:
    """Draw shares of the true class, in percent; every row sums to 100.

    Args:
        counts (np.ndarray): (n, n) pixels, row = truth, column = prediction.
        classes (Sequence[str]): The n names.
        shown (Sequence[int], optional): Labels to draw, in order; predictions of the other classes
            are put together in a last column. Default: all classes.
        title (str): Line above the picture.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.
    """
    shown = list(range(len(classes))) if shown is None else list(shown)
    table = counts[np.ix_(shown, shown)].astype(np.float64)
    names = [_plain(classes[i]) for i in shown]
    columns = names
    if len(shown) < len(classes):
        others = counts[shown].sum(axis=1, keepdims=True) - table.sum(axis=1, keepdims=True)
        table, columns = np.concatenate([table, others], axis=1), [*names, OTHER]
    total = table.sum(axis=1, keepdims=True)
    percent = np.divide(100 * table, total, out=np.zeros_like(table), where=total > 0)
    rows = [
        name if pixels else f'{name} (no pixels)'
        for name, pixels in zip(names, total[:, 0], strict=True)
    ]

    side = 0.36 * len(columns)
    figure = Figure(figsize=(max(4.5, side + 2.6), max(3, side + 1.8)), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(percent, cmap='Blues', vmin=0, vmax=100)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel('prediction')
    axes.set_ylabel('truth')
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    for (i, j), value in np.ndenumerate(percent):
        if value >= 0.5:
            colour = 'white' if value > 55 else 'black'
            axes.text(j, i, f'{value:.0f}', ha='center', va='center', fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, label='percent of the true class')
    return _picture(figure)


def draw_noun_frequencies(
    counts: Mapping[str, int], num_captions: int, number: int = 40
) -> np.ndarray:
    """Draw the most frequent nouns as bars, the most frequent one on top.

    Args:
        counts (Mapping[str, int]): Noun -> captions that name it.
        num_captions (int): All captions, for the shares.
        number (int): Bars at most.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.

    Raises:
        ValueError: If there is no noun, or no caption.
    """
    if not counts or num_captions < 1:
        raise ValueError(f'expected nouns and captions, but got {len(counts)} and {num_captions}')
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]
    names, values = [name for name, _ in top], [value for _, value in top]
    figure = Figure(figsize=(7, 1.3 + 0.22 * len(top)), dpi=120, layout='constrained')
    axes = figure.subplots()
    # by position, since two nouns may look the same to matplotlib
    bars = axes.barh(range(len(top)), values, color='#3b6ea8')
    labels = [name if len(name) <= 30 else f'{name[:29]}…' for name in names]
    axes.set_yticks(range(len(top)), [_plain(label) for label in labels], fontsize=9)
    shares = [f' {value:,} ({value / num_captions:.1%})' for value in values]
    axes.bar_label(bars, shares, fontsize=8)
    axes.set_xlim(0, max(values) * 1.25)  # room for the labels
    axes.set_ylim(len(top) - 0.4, -0.6)  # the first bar on top
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_xlabel(f'captions that name it, of {num_captions:,}')
    axes.set_title(f'Most frequent of {len(counts):,} nouns', loc='left', fontsize=11)
    return _picture(figure)


def _plain(name: str) -> str:
    """A name that matplotlib does not take for mathematics ($x$)."""
    return name.replace('$', r'\$')


def _picture(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
