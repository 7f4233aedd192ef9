"""Charts of the tools: what is drawn."""

import numpy as np
import pytest
from class_iou import class_order, draw_class_ious
from confusion_matrix import classes_to_show, draw_confusion, most_confused
from matplotlib.backends.backend_agg import FigureCanvasAgg


def axes_of(figure):
    """The first axes of a figure that can be drawn, whatever its names."""
    FigureCanvasAgg(figure).draw()
    return figure.axes[0]


def names_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_order_of_classes():
    runs = dict(a=np.array([10, np.nan, 30, 10, 50.0]), b=np.array([10, 5, 90, 20, 51.0]))
    assert class_order(runs, 'iou', None) == [4, 2, 0, 3]
    assert class_order(runs, 'difference', None) == [2, 3, 4, 0]
    assert class_order(runs, 'iou', 1) == [4, 3]


def test_bars_are_as_long_as_the_ious():
    runs = {'A': np.array([20.0, 80.0, 40.0]), 'B': np.array([80.0, np.nan, 20.0])}
    axes = axes_of(draw_class_ious(runs, ['a', '$b^', 'c'], [1, 2, 0]))
    assert names_of(axes.yaxis) == ['$b^', 'c', 'a']
    first, second = ([bar.get_width() for bar in bars] for bars in axes.containers)
    assert first == [80, 40, 20] and second == [0, 20, 80]
    bottom, top = axes.get_ylim()
    assert top < axes.patches[0].get_y() < axes.patches[1].get_y() < bottom  # best on top
    assert 'no pixels' in [text.get_text() for text in axes.texts]


def test_cells_show_shares_of_the_true_class():
    counts, names = np.array([[5, 1, 4], [0, 10, 0], [0, 0, 7]]), ['cat', '$dog', 'cow']
    axes = axes_of(draw_confusion(counts, names, [0, 1]))
    # classes that are not shown share a column
    assert (axes.images[0].get_array() == [[50, 10, 40], [0, 100, 0]]).all()
    assert names_of(axes.yaxis) == ['cat', '$dog']
    assert names_of(axes.xaxis) == ['cat', '$dog', '(all others)']


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
