import matplotlib
import numpy as np
import pytest

from code_mm.visualization import draw_confusion


def cells(picture, rows, columns):
    """Colour near the corner of every cell, where no number is: the frame is found by its lines."""
    black = (picture == 0).all(-1)
    ys = np.flatnonzero(black.sum(1) > 0.3 * picture.shape[1])
    xs = np.flatnonzero(black.sum(0) > 0.3 * picture.shape[0])
    xs = xs[xs < ys[0] + picture.shape[1] * 0.9]
    top, bottom = ys[0], ys[-1]
    left, right = xs[0], xs[-1]
    at = [
        (
            round(top + (i + 0.15) * (bottom - top) / rows),
            round(left + (j + 0.15) * (right - left) / columns),
        )
        for i in range(rows)
        for j in range(columns)
    ]
    return np.array([picture[y, x] for y, x in at]).reshape(rows, columns, 3)


def colour_of(percent):
    return np.round(255 * np.array(matplotlib.colormaps['Blues'](percent / 100)[:3]))


def test_cells_show_shares_of_the_true_class():
    counts = np.array([[30, 10], [0, 0]])
    picture = draw_confusion(counts, ['cat', 'dog'])
    expected = [[75, 25], [0, 0]]
    for (i, j), _ in np.ndenumerate(counts):
        assert cells(picture, 2, 2)[i, j] == pytest.approx(colour_of(expected[i][j]), abs=2)


def test_classes_that_are_not_shown_share_a_column():
    counts = np.array([[5, 1, 4], [0, 10, 0], [0, 0, 7]])
    picture = draw_confusion(counts, ['cat', 'dog', 'cow'], shown=[0, 1])
    expected = [[50, 10, 40], [0, 100, 0]]
    found = cells(picture, 2, 3)
    for (i, j), share in np.ndenumerate(expected):
        assert found[i, j] == pytest.approx(colour_of(share), abs=2)


@pytest.mark.parametrize(
    ('counts', 'shown', 'message'),
    [
        (np.eye(3), None, r'for 2 classes, but got \(3, 3\)'),
        (np.eye(2), [], 'at least one class'),
    ],
)
def test_wrong_input(counts, shown, message):
    with pytest.raises(ValueError, match=message):
        draw_confusion(counts, ['a', 'b'], shown)
