import matplotlib
import numpy as np
import pytest

from code_mm.visualization import (
    distinct_palette,
    draw_class_ious,
    draw_confusion,
    draw_noun_frequencies,
    order_by_iou,
)


def bar_lengths(picture, colour):
    """Pixels of a colour in the longest run of every bar, from top to bottom."""
    hits = (picture == colour).all(-1)
    rows = np.flatnonzero(hits.sum(1) > 3)
    bars = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [int(hits[bar].sum(1).max()) for bar in bars]


def test_ious_are_sorted_and_bars_as_long_as_they_are():
    assert order_by_iou(np.array([10, np.nan, 30, 10, 50.0])) == [4, 2, 0, 3]
    picture = draw_class_ious({'CoDe': np.array([20.0, 80.0, 40.0])}, ['a', 'b', 'c'])
    # the first stretch of the colour is the legend's
    lengths = bar_lengths(picture, distinct_palette(1)[0])[-3:]
    assert np.array(lengths) / lengths[0] == pytest.approx([1, 0.5, 0.25], abs=0.02)


def test_every_run_has_its_colour():
    runs = {'A': np.array([60.0, 30.0]), 'B': np.array([30.0, np.nan])}
    picture = draw_class_ious(runs, ['a', '$b^'])
    first, second = (bar_lengths(picture, colour) for colour in distinct_palette(2))
    # both 30: the second of A, and the first of B, whose second has no pixels
    assert second[-1] == pytest.approx(first[-1], abs=3)


def cells(picture, rows, columns):
    """Colour near the corner of every cell, where no number is: the frame is found by its lines."""
    black = (picture == 0).all(-1)
    ys = np.flatnonzero(black.sum(1) > 0.3 * picture.shape[1])
    xs = np.flatnonzero(black.sum(0) > 0.3 * picture.shape[0])
    xs = xs[xs < ys[0] + picture.shape[1] * 0.9]
    at_y = [round(ys[0] + (i + 0.15) * (ys[-1] - ys[0]) / rows) for i in range(rows)]
    at_x = [round(xs[0] + (j + 0.15) * (xs[-1] - xs[0]) / columns) for j in range(columns)]
    return picture[np.ix_(at_y, at_x)]


@pytest.mark.parametrize(
    ('counts', 'shown', 'percent'),
    [
        ([[30, 10], [0, 0]], None, [[75, 25], [0, 0]]),
        # classes that are not shown share a column
        ([[5, 1, 4], [0, 10, 0], [0, 0, 7]], [0, 1], [[50, 10, 40], [0, 100, 0]]),
    ],
)
def test_cells_show_shares_of_the_true_class(counts, shown, percent):
    picture = draw_confusion(np.array(counts), ['cat', 'dog', 'cow'][: len(counts)], shown)
    found = cells(picture, *np.shape(percent))
    for (i, j), share in np.ndenumerate(percent):
        expected = 255 * np.array(matplotlib.colormaps['Blues'](share / 100)[:3])
        assert found[i, j] == pytest.approx(expected, abs=2)


BAR = np.array([0x3B, 0x6E, 0xA8])


def test_frequencies_are_in_proportion_and_in_order():
    picture = draw_noun_frequencies(dict(cat=20, dog=40, ant=10, bee=1), 100, number=3)
    lengths = bar_lengths(picture, BAR)
    np.testing.assert_allclose(np.divide(lengths, lengths[0]), [1, 0.5, 0.25], atol=0.02)
    with pytest.raises(ValueError, match='expected nouns and captions, but got 0 and 3'):
        draw_noun_frequencies({}, 3)


@pytest.mark.parametrize('noun', ['$x^', 'a$b$', 'x' * 200, '犬', '_', '\\frac', '%'])
def test_any_noun_can_be_drawn(noun):
    assert len(bar_lengths(draw_noun_frequencies({noun: 3}, 3), BAR)) == 1
