"""What is painted and written: label maps, legends, comparisons, regions and words of a caption."""

import cv2
import numpy as np
import pytest
from matplotlib import font_manager

from code_mm.visualization import (
    ComparisonRow,
    distinct_palette,
    draw_co_decomposition,
    draw_comparison,
    draw_overlay,
    draw_side_by_side,
    lettering,
)
from code_mm.visualization.colours import paint_labels
from code_mm.visualization.lettering import TextPiece, draw_text, font
from code_mm.visualization.overlay import share_text

CLASSES = ['background', 'circle', 'grüner дом']
PALETTE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
FIRST, SECOND = distinct_palette(2)
CAPTION = 'a red circle on the grass'
NOUNS = ['circle', 'grass']


def grey(height=64, width=64, value=100):
    return np.full((height, width, 3), value, np.uint8)


def labels_of(height, width):
    """The left third is background, then two classes, one above the other."""
    labels = np.zeros((height, width), np.int32)
    labels[:, width // 3 :] = 1
    labels[height // 2 :, width // 3 :] = 2
    return labels


def has(picture, colour):
    return (abs(picture.astype(float) - np.array(colour)) <= 1).all(-1).any()


@pytest.mark.parametrize('n, least', [(2, 60), (21, 20), (150, 9)])
def test_colours_are_far_apart(n, least):
    lab = cv2.cvtColor(np.float32(distinct_palette(n))[None] / 255, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distance[np.triu_indices(n, 1)].min() > least


def test_many_colours_are_different_and_begin_alike():
    colours = distinct_palette(1000)
    assert len(set(colours)) == 1000
    assert all(type(v) is int and 0 <= v <= 255 for colour in colours for v in colour)
    assert colours[:7] == distinct_palette(7) and colours[:2] == distinct_palette(2)
    with pytest.raises(ValueError, match='at most 4096'):
        distinct_palette(5000)


def test_painted_and_plain_regions_and_their_borders():
    colours = {1: (200, 0, 0), 2: (0, 0, 200)}
    picture = paint_labels(grey(8, 9), labels_of(8, 9), colours, 0.5)
    found = {place: tuple(picture[place]) for place in [(0, 2), (0, 8), (0, 3), (7, 8), (4, 8)]}
    assert found == {
        (0, 2): (100, 100, 100),  # plain, also at its border
        (0, 8): (150, 50, 50),  # half and half
        (0, 3): (200, 0, 0),  # beside the plain region: outlined
        (7, 8): (50, 50, 150),
        (4, 8): (0, 0, 200),
    }
    white = paint_labels(grey(8, 9), labels_of(8, 9), colours, 0.5, outline=(255, 255, 255))
    assert tuple(white[0, 3]) == tuple(white[4, 8]) == (255, 255, 255)
    assert tuple(white[0, 8]) == (150, 50, 50)


def test_words_keep_to_lines_and_margins_and_have_their_looks():
    pieces = [TextPiece('word')] * 12
    one, many = draw_text(pieces, 2000, 16), draw_text(pieces, 120, 16)
    assert many.shape[1] == 120 and many.shape[0] > 3 * one.shape[0]
    for text in ('', 'x' * 500, '木の' * 50):
        picture = draw_text([TextPiece(text)], 90, 16, margin=8)
        assert (picture[:, :5] == 255).all() and (picture[:, -5:] == 255).all()
    plain, red = (210, 220, 230), (255, 0, 0)
    picture = draw_text([TextPiece('a', plain), TextPiece('b', underline=red)], 200, 16)
    assert (picture == np.array(plain)).all(-1).sum() > 50
    assert 10 < (picture == np.array(red)).all(-1).sum() < 60


def test_a_font_of_the_machine_stands_in_for_letters_that_ours_lacks(monkeypatch):
    # matplotlib's font of last resort has a picture for every letter
    if 'Last Resort High-Efficiency' not in font_manager.get_font_names():
        pytest.skip('this matplotlib has no font of last resort')
    monkeypatch.setattr(lettering, '_FALLBACKS', ('Nowhere', 'Last Resort High-Efficiency'))
    for cached in (lettering.fonts, font):
        cached.cache_clear()
    assert list(lettering.fonts()) == ['DejaVu Sans', 'Last Resort High-Efficiency']
    last = font_manager.get_font(lettering.fonts()['Last Resort High-Efficiency']).family_name
    families = [font(16, text).getname()[0] for text in ('cat', 'größe', '猫', 'cat 猫')]
    assert families == ['DejaVu Sans', 'DejaVu Sans', last, last]
    drawn = draw_text([TextPiece('猫')], 60, 16)
    monkeypatch.undo()
    for cached in (lettering.fonts, font):
        cached.cache_clear()
    assert (drawn != draw_text([TextPiece('\uffff')], 60, 16)).any()  # a box


def test_the_legend_names_what_is_there():
    image, labels = grey(500, 600), labels_of(500, 600)
    nothing, shapes = np.zeros_like(labels), []
    for present in (labels, nothing):
        picture = draw_overlay(image, present, CLASSES, PALETTE, plain=0)
        assert picture.shape[1] == 600 and picture.shape[0] > 500
        for label in (1, 2):
            assert has(picture[500:], PALETTE[label]) == (present == label).any()
        whole = draw_overlay(image, present, CLASSES, PALETTE, plain=0, whole_legend=True)
        shapes.append(whole.shape)
    np.testing.assert_array_equal(picture[:500], image)  # the background is not coloured
    assert shapes[0] == shapes[1]  # frames of a video have one size
    shares = {0: '0 %', 1: '100 %', 0.34: '34 %', 0.0072: '0.7 %', 0.0004: '<0.1 %'}
    assert {share: share_text(share) for share in shares} == shares


def test_small_images_are_enlarged():
    picture = draw_overlay(grey(8, 12), labels_of(8, 12), CLASSES, PALETTE, opacity=1.0, plain=0)
    assert picture.shape[1] == 480 and picture.shape[0] > 320
    corners = [tuple(picture[y, x]) for y, x in ((0, 0), (0, 479), (319, 479))]
    assert corners == [(100, 100, 100), *PALETTE[1:]]
    thin = draw_overlay(grey(600, 2), np.ones((600, 2), int), CLASSES, PALETTE)
    assert thin.shape[1] >= 12 * 14  # room for the legend


def row(height=64, width=64, **maps):
    return ComparisonRow(
        grey(height, width), {t: np.full((height, width), c) for t, c in maps.items()}
    )


def blended(colour):
    """75 % of a colour over grey 100."""
    return np.round(0.25 * 100 + 0.75 * np.array(colour))


def test_one_column_per_title_and_one_legend():
    rows = [row(truth=1, CoDe=2), row(truth=1, MaskCLIP=1)]
    picture = draw_comparison(rows, CLASSES, PALETTE, background=0, panel=64)
    assert picture.shape[1] == 4 * 64 + 3 * 8  # image, truth, CoDe, MaskCLIP
    truth, code, maskclip = (picture[:, left : left + 64] for left in (72, 144, 216))
    above = picture.shape[0] // 2
    assert has(truth[:above], blended(FIRST)) and has(truth[above:], blended(FIRST))
    assert has(code[:above], blended(SECOND))
    assert not has(code[above:], blended(SECOND))  # the second image has no such map
    assert has(maskclip[above:], blended(FIRST))
    assert has(picture[-30:], FIRST) and has(picture[-30:], SECOND)


def test_one_image_in_the_data_sets_own_colours():
    image, truth = grey(value=0), np.zeros((64, 64), np.uint8)
    image[..., 0] = 200  # red: its grey is 60
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
    ('rows', 'palette', 'message'),
    [
        ([], PALETTE, 'at least one image'),
        ([row(CoDe=3)], PALETTE, r"'CoDe' below 3 .* but got \[3\]"),
        ([row(CoDe=-1)], PALETTE, r'but got \[-1\]'),
        ([ComparisonRow(grey(2, 2), {'A': np.zeros((3, 2))})], PALETTE, "of 'A' with"),
        ([row(CoDe=1)], PALETTE[:2], r'per class \(3\), but got 2'),
    ],
)
def test_what_cannot_be_drawn_is_named(rows, palette, message):
    with pytest.raises(ValueError, match=message):
        draw_comparison(rows, CLASSES, palette)
    with pytest.raises(ValueError, match=r'shape of the image \(8, 12\), but got \(3, 3\)'):
        draw_overlay(grey(8, 12), np.zeros((3, 3), int), CLASSES, PALETTE)
    with pytest.raises(ValueError, match='opacity in'):
        draw_overlay(grey(8, 12), labels_of(8, 12), CLASSES, PALETTE, opacity=1.2)


def decomposed(height=64, width=64):
    """A grey image, whose upper half is the first noun and whose lower half the second."""
    masks, words = np.zeros((2, height, width), np.float32), np.zeros((2, 20), np.float32)
    masks[0, : height // 2] = masks[1, height // 2 :] = 1
    words[0, 3] = words[1, 6] = 1
    return grey(height, width, 120), masks, words


def test_regions_and_words_have_the_colour_of_their_noun():
    image, masks, words = decomposed()
    picture = draw_co_decomposition(image, masks, CAPTION, words, NOUNS, panel=128)
    assert picture.dtype == np.uint8
    for j, y in enumerate((30, 98)):  # centres of the upper and lower half
        expected = 0.6 * np.array(distinct_palette(2)[j]) + 0.4 * 120
        np.testing.assert_allclose(picture[y, -64], expected, atol=1.5)
    # left: the untouched image, nouns underlined, words without ground
    assert (picture[:128, :128] == 120).all()
    for below in (picture[128:, :128], picture[128:, -128:]):
        assert has(below, FIRST) and has(below, SECOND)


def test_strength_follows_probability_and_is_dark_without_region():
    image, masks, words = decomposed()
    weak = draw_co_decomposition(image, 0.5 * masks, CAPTION, 0.3 * words, NOUNS, panel=128)
    strong = np.array(FIRST)
    assert has(weak[128:, -128:], 255 - 0.3 * (255 - strong))
    shade = 120 * (0.55 + 0.45 * 0.5)
    np.testing.assert_allclose(weak[30, -64], 0.3 * strong + 0.7 * shade, atol=1.5)
    none = draw_co_decomposition(image, 0 * masks, CAPTION, None, NOUNS, panel=128)
    np.testing.assert_allclose(none[64, -64], 0.55 * 120, atol=1)


def test_any_image_caption_grid_and_number_of_nouns():
    for size in ((480, 640), (7, 300), (1, 1)):
        image, masks, words = decomposed(*size)
        for regions in (masks, np.ones((2, 4, 4), np.float32)):
            picture = draw_co_decomposition(image, regions, CAPTION, words, NOUNS, panel=200)
            assert picture.shape[1] == 200 + 8 + 200  # text is at least a panel wide
    image, masks, words = decomposed()
    captions = [
        '',
        '木のテーブル ☕ 😀 кофе',
        'longword' * 40,
        'a &lt;b&gt; \x00 \u202e|',
        'w ' * 200,
    ]
    for caption in captions:
        assert draw_co_decomposition(image, masks, caption, words, NOUNS).shape[2] == 3
        for count in (0, 12):
            nouns = [f'noun{i}' for i in range(count)]
            shapes = np.ones((count, 64, 64)), caption, np.ones((count, 20))
            draw_co_decomposition(image, *shapes, nouns)
