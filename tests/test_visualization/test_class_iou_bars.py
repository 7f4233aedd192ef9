import numpy as np
import pytest

from code_mm.visualization import draw_class_ious, order_by_iou
from code_mm.visualization.palette import distinct_palette


def bar_lengths(picture, colour):
    """Pixels of a colour in the longest run of every bar, from top to bottom."""
    hits = (picture == colour).all(-1)
    rows = np.flatnonzero(hits.sum(1) > 3)
    bars = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [int(hits[bar].sum(1).max()) for bar in bars]


def test_order_is_falling_and_leaves_missing_classes_out():
    assert order_by_iou(np.array([10, np.nan, 30, 10, 50.0])) == [4, 2, 0, 3]


def test_bars_are_as_long_as_the_ious():
    picture = draw_class_ious({'CoDe': np.array([20.0, 80.0, 40.0])}, ['a', 'b', 'c'])
    # the first stretch of the colour is the legend's
    lengths = bar_lengths(picture, distinct_palette(1)[0])[-3:]
    assert np.array(lengths) / lengths[0] == pytest.approx([1, 0.5, 0.25], abs=0.02)


def test_every_run_has_its_colour():
    runs = {'A': np.array([60.0, 30.0]), 'B': np.array([30.0, np.nan])}
    picture = draw_class_ious(runs, ['a', 'b'])
    first, second = distinct_palette(2)
    assert len(bar_lengths(picture, first)[-2:]) == 2
    assert bar_lengths(picture, second)[-1] == pytest.approx(
        bar_lengths(picture, first)[-1], abs=3
    )  # both 30, the second of the two is 'a' of B


def test_many_classes_take_several_columns():
    names = [f'class {i}' for i in range(70)]
    one = draw_class_ious({'A': np.linspace(0, 90, 70)}, names, order=range(35))
    two = draw_class_ious({'A': np.linspace(0, 90, 70)}, names)
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] == 2 * one.shape[1]


@pytest.mark.parametrize(
    ('runs', 'message'),
    [
        ({}, 'at least one run'),
        ({'A': np.zeros(3)}, r"2 IoUs of 'A', one per class, but got \(3,\)"),
        ({'A': np.full(2, np.nan)}, 'at least one class'),
    ],
)
def test_wrong_input(runs, message):
    with pytest.raises(ValueError, match=message):
        draw_class_ious(runs, ['a', 'b'])
