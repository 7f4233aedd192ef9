"""A confusion matrix as a picture that stays readable with many classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .figure_picture import figure_picture

OTHER = '(all others)'


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

    Raises:
        ValueError: If names and counts do not fit, or no class is to be drawn.
    """
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f'expected counts for {len(classes)} classes, but got {counts.shape}')
    shown = list(range(len(classes))) if shown is None else list(shown)
    if not shown:
        raise ValueError('expected at least one class to draw, but got none')
    table = counts[np.ix_(shown, shown)].astype(np.float64)
    names, columns = [classes[i] for i in shown], [classes[i] for i in shown]
    if len(shown) < len(classes):
        others = counts[shown].sum(axis=1, keepdims=True) - table.sum(axis=1, keepdims=True)
        table, columns = np.concatenate([table, others], axis=1), [*columns, OTHER]
    total = table.sum(axis=1, keepdims=True)
    percent = np.divide(100 * table, total, out=np.zeros_like(table), where=total > 0)

    side = 0.36 * len(columns)
    figure = Figure(figsize=(max(4.5, side + 2.6), max(3, side + 1.8)), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(percent, cmap='Blues', vmin=0, vmax=100)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha='right', rotation_mode='anchor')
    axes.set_yticks(
        range(len(names)), [_row_name(*row) for row in zip(names, total[:, 0], strict=True)]
    )
    axes.set_xlabel('prediction')
    axes.set_ylabel('truth')
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    for (i, j), value in np.ndenumerate(percent):
        if value >= 0.5:
            colour = 'white' if value > 55 else 'black'
            axes.text(j, i, f'{value:.0f}', ha='center', va='center', fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, label='percent of the true class')
    return figure_picture(figure)


def _row_name(name: str, pixels: float) -> str:
    return name if pixels else f'{name} (no pixels)'
