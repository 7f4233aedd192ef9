"""Charts of the tools: what is drawn, read from the picture."""

import matplotlib
import numpy as np
import pytest
from class_iou import class_order, draw_class_ious
from confusion_matrix import classes_to_show, draw_confusion, most_confused
from matplotlib.backends.backend_agg import FigureCanvasAgg

from code_mm.visualization import distinct_palette


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def bar_lengths(figure, colour):
    """Pixels of a colour in the longest run of every bar, from top to bottom."""
    hits = (pixels(figure) == colour).all(-1)
    rows = np.flatnonzero(hits.sum(1) > 3)
    bars = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [int(hits[bar].sum(1).max()) for bar in bars]


def test_order_of_classes():
    runs = dict(a=np.array([10, np.nan, 30, 10, 50.0]), b=np.array([10, 5, 90, 20, 51.0]))
    assert class_order(runs, 'iou', None) == [4, 2, 0, 3]
    assert class_order(runs, 'difference', None) == [2, 3, 4, 0]
    assert class_order(runs, 'label', None) == [0, 2, 3, 4]
    assert class_order(runs, 'iou', 1) == [4, 3]


def test_bars_are_as_long_as_the_ious():
    runs = {'A': np.array([20.0, 80.0, 40.0]), 'B': np.array([80.0, np.nan, 20.0])}
    figure = draw_class_ious(runs, ['a', '$b^', 'c'], [1, 2, 0])
    # the first stretch of a colour is the legend's
    first, second = (bar_lengths(figure, colour) for colour in distinct_palette(2))
    assert np.array(first[-3:]) / first[-3] == pytest.approx([1, 0.5, 0.25], abs=0.02)
    assert np.array(second[-2:]) / first[-3] == pytest.approx([0.25, 1], abs=0.02)


def cells(picture, rows, columns):
    """Colour near the corner of every cell, where no number is: the frame is found by its lines."""
    black = (picture == 0).all(-1)
    ys = np.flatnonzero(black.sum(1) > 0.3 * picture.shape[1])
    xs = np.flatnonzero(black.sum(0) > 0.3 * picture.shape[0])
    xs = xs[xs < ys[0] + picture.shape[1] * 0.9]
    at_y = [round(ys[0] + (i + 0.15) * (ys[-1] - ys[0]) / rows) for i in range(rows)]
    at_x = [round(xs[0] + (j + 0.15) * (xs[-1] - xs[0]) / columns) for j in range(columns)]
    return picture[np.ix_(at_y, at_x)]


def test_cells_show_shares_of_the_true_class():
    counts, names = np.array([[5, 1, 4], [0, 10, 0], [0, 0, 7]]), ['cat', '$dog', 'cow']
    found = cells(pixels(draw_confusion(counts, names, [0, 1])), 2, 3)
    # classes that are not shown share a column
    for (i, j), percent in np.ndenumerate([[50, 10, 40], [0, 100, 0]]):
        expected = 255 * np.array(matplotlib.colormaps['Blues'](percent / 100)[:3])
        assert found[i, j] == pytest.approx(expected, abs=2)


def test_the_most_confused_pairs_and_their_classes():
    counts = np.array([[90, 10, 0], [1, 1, 2], [0, 0, 5]])
    assert most_confused(counts) == [(1, 2), (1, 0), (0, 1)]
    assert most_confused(counts, by='pixels') == [(0, 1), (1, 2), (1, 0)]
    counts = np.diag([50] * 10)
    assert classes_to_show(counts, 4) == [0, 1, 2, 3]
    counts[7, 2], counts[2, 4], counts[0, 9] = 9, 3, 1
    assert classes_to_show(counts, 3) == [2, 4, 7]
    assert classes_to_show(counts, 2) == [2, 7]
    assert classes_to_show(counts, 10) == list(range(10))
    with pytest.raises(ValueError, match='at least 2 classes'):
        classes_to_show(counts, 1)
