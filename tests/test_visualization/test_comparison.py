import numpy as np
import pytest

from code_mm.visualization import (
    ComparisonRow,
    distinct_palette,
    draw_comparison,
    draw_side_by_side,
)

CLASSES = ['background', 'circle', 'square']
PALETTE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
FIRST, SECOND = distinct_palette(2)


def row(height=64, width=64, **maps):
    image = np.full((height, width, 3), 100, np.uint8)
    return ComparisonRow(image, {t: np.full((height, width), c) for t, c in maps.items()})


def has(picture, colour):
    return (picture == colour).all(-1).any()


def blended(colour):
    """75 % of a colour over grey 100."""
    return np.round(0.25 * 100 + 0.75 * np.array(colour)).astype(int)


def test_one_column_per_title_and_one_legend():
    rows = [row(truth=1, CoDe=2), row(truth=1, MaskCLIP=1)]
    picture = draw_comparison(rows, CLASSES, PALETTE, background=0, panel=64)
    assert picture.shape[1] == 4 * 64 + 3 * 8  # image, truth, CoDe, MaskCLIP
    truth, code, maskclip = (picture[:, left : left + 64] for left in (72, 144, 216))
    above = picture.shape[0] // 2
    assert has(truth[:above], blended(FIRST))
    assert has(truth[above:], blended(FIRST))
    assert has(code[:above], blended(SECOND))
    assert not has(code[above:], blended(SECOND))  # the second image has no such map
    assert has(maskclip[above:], blended(FIRST))
    legend = picture[-30:]
    assert has(legend, FIRST)
    assert has(legend, SECOND)


def test_one_image_in_the_data_sets_own_colours():
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200  # red: its grey is 60
    truth = np.zeros((64, 64), np.uint8)
    truth[:, 32:] = 1
    picture = draw_side_by_side(image, truth, dict(CoDe=truth * 0 + 255), CLASSES, PALETTE, 64)
    top = np.flatnonzero((picture[:, :64] == [200, 0, 0]).all(-1).all(1))[0]
    shown, found, prediction = (picture[top : top + 64, left : left + 64] for left in (0, 72, 144))
    assert (shown == [200, 0, 0]).all()
    assert (found[:, :31] == 15).all() and (found[:, 33:] == [165, 15, 15]).all()
    assert (found[:, 31:33] == 255).all()  # outlines
    assert (prediction == 60).all()  # ignored
    rows, keys = [row(CoDe=0), row(CoDe=255)], dict(background=0, panel=64)
    assert (np.ptp(draw_comparison(rows, CLASSES, PALETTE, **keys), axis=-1) == 0).all()
    assert has(picture[-30:], PALETTE[1]) and not has(picture[-30:], PALETTE[2])


def test_images_of_any_shape_keep_to_their_columns_and_notes_below_them():
    rows = [row(20, 40, CoDe=1), row(80, 40, CoDe=1)]
    picture = draw_comparison(rows, CLASSES, PALETTE, panel=64)
    assert picture.shape[1] == 2 * 64 + 8
    _, xs = np.nonzero((picture == blended(FIRST)).all(-1))
    assert xs.min() >= 72 and xs.max() < 136
    rows[1].notes = {'CoDe': 'mIoU 12.3'}
    noted = draw_comparison(rows, CLASSES, PALETTE, panel=64)
    assert noted.shape[0] > picture.shape[0]
    below = noted[-60:-30]
    assert (below[:, :64] == 255).all() and (below[:, 72:] < 100).any()


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([], 'at least one image'),
        ([row(CoDe=3)], r"'CoDe' below 3 .* but got \[3\]"),
        ([row(CoDe=-1)], r'but got \[-1\]'),
        ([ComparisonRow(np.zeros((2, 2, 3), np.uint8), {'A': np.zeros((3, 2))})], "of 'A' with"),
    ],
)
def test_wrong_input(rows, message):
    with pytest.raises(ValueError, match=message):
        draw_comparison(rows, CLASSES, PALETTE)
    with pytest.raises(ValueError, match=r'per class \(3\), but got 2'):
        draw_comparison([row(CoDe=1)], CLASSES, PALETTE[:2])
