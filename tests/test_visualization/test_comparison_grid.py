import numpy as np
import pytest

from code_mm.visualization import ComparisonRow, draw_comparison, paint_labels
from code_mm.visualization.palette import distinct_palette

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


def test_label_maps_lie_over_the_image_in_grey():
    image = np.zeros((4, 8, 3), np.uint8)
    image[..., 0] = 200  # red: its grey is 60
    labels = np.zeros((4, 8), int)
    labels[:, 4:] = 1
    picture = paint_labels(image, labels, {1: (100, 20, 0)}, opacity=0.5, outline=0)
    assert (picture[:, :4] == 60).all()
    assert (picture[:, 4:] == [80, 40, 30]).all()
    outlined = paint_labels(image, labels, {1: (100, 20, 0)}, opacity=0.5, outline=1)
    assert (outlined[:, 4] == 255).all()
    assert (outlined[1:3, 5:7] == [80, 40, 30]).all()


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


def test_background_and_ignored_pixels_stay_grey():
    rows = [row(CoDe=0), row(CoDe=255)]
    picture = draw_comparison(rows, CLASSES, PALETTE, background=0, panel=64)
    assert (np.ptp(picture, axis=-1) == 0).all()
    coloured = draw_comparison(rows, CLASSES, PALETTE, background=None, panel=64)
    assert has(coloured, blended(FIRST))


def test_the_data_sets_own_colours():
    picture = draw_comparison([row(CoDe=2)], CLASSES, PALETTE, distinct=False, panel=64)
    assert has(picture, blended(PALETTE[2]))
    assert has(picture[-30:], PALETTE[2])


def test_images_of_any_shape_keep_to_their_columns():
    rows = [row(20, 40, CoDe=1), row(80, 40, CoDe=1)]
    picture = draw_comparison(rows, CLASSES, PALETTE, panel=64)
    assert picture.shape[1] == 2 * 64 + 8
    inside = (picture == blended(FIRST)).all(-1)
    _, xs = np.nonzero(inside)
    assert xs.min() >= 72
    assert xs.max() < 136


def test_notes_add_lines_below_their_panels():
    plain = draw_comparison([row(CoDe=1)], CLASSES, PALETTE, panel=64)
    noted = row(CoDe=1)
    noted.notes = {'CoDe': 'mIoU 12.3'}
    picture = draw_comparison([noted], CLASSES, PALETTE, panel=64)
    assert picture.shape[0] > plain.shape[0]
    below = picture[-60:-30]
    assert (below[:, :64] == 255).all()
    assert (below[:, 72:] < 100).any()


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([], 'at least one image'),
        ([row(CoDe=3)], r"'CoDe' below 3 .* but got \[3\]"),
        ([ComparisonRow(np.zeros((2, 2, 3), np.uint8), {'A': np.zeros((3, 2))})], "of 'A' with"),
        ([ComparisonRow(np.zeros((2, 2)), {})], 'expected image as a uint8'),
    ],
)
def test_wrong_input(rows, message):
    with pytest.raises(ValueError, match=message):
        draw_comparison(rows, CLASSES, PALETTE)


def test_a_colour_per_class_is_needed():
    with pytest.raises(ValueError, match=r'per class \(3\), but got 2'):
        draw_comparison([row(CoDe=1)], CLASSES, PALETTE[:2])
