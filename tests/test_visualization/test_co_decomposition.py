import numpy as np
import pytest

from code_mm.visualization import caption_words, draw_co_decomposition, noun_colours

CAPTION = 'a red circle on the grass'
NOUNS = ['circle', 'grass']


def inputs(size=(64, 64), k=2):
    image = np.full((*size, 3), 120, np.uint8)
    masks = np.zeros((k, *size), np.float32)
    masks[0, : size[0] // 2] = 1
    masks[1, size[0] // 2 :] = 1
    words = np.zeros((k, 20), np.float32)
    words[0, 3], words[1, 6] = 1, 1
    return image, masks, words


def contains(picture, colour):
    return bool((abs(picture.astype(float) - np.array(colour)) <= 1).all(-1).any())


def test_regions_and_words_have_the_colour_of_their_noun():
    image, masks, words = inputs()
    picture = draw_co_decomposition(image, masks, CAPTION, words, NOUNS, panel=128)
    assert picture.dtype == np.uint8
    right = picture[:, -128:]
    for j, row in enumerate((30, 98)):  # centres of the upper and lower half
        expected = 0.6 * np.array(noun_colours(2)[j]) + 0.4 * 120
        np.testing.assert_allclose(right[row, 64], expected, atol=1.5)
    below = picture[128:]
    assert all(contains(below[:, -128:], colour) for colour in noun_colours(2))
    # left: the untouched image, nouns underlined, words without ground
    assert (picture[:128, :128] == 120).all()
    assert all(contains(below[:, :128], colour) for colour in noun_colours(2))


def test_strength_follows_probability():
    image, masks, words = inputs()
    weak = draw_co_decomposition(image, 0.5 * masks, CAPTION, 0.3 * words, NOUNS, panel=128)
    strong = np.array(noun_colours(1)[0])
    expected = 255 - 0.3 * (255 - strong)
    assert contains(weak[128:, -128:], expected)
    shade = 120 * (0.55 + 0.45 * 0.5)
    np.testing.assert_allclose(weak[30, -64], 0.3 * strong + 0.7 * shade, atol=1.5)


def test_dark_where_no_region_is():
    image, masks, words = inputs()
    picture = draw_co_decomposition(image, 0 * masks, CAPTION, words, NOUNS, panel=128)
    np.testing.assert_allclose(picture[64, -64], 0.55 * 120, atol=1)


@pytest.mark.parametrize('size', [(64, 64), (480, 640), (7, 300), (1, 1), (1200, 900)])
def test_any_image_size(size):
    image, masks, words = inputs(size)
    picture = draw_co_decomposition(image, masks, CAPTION, words, NOUNS, panel=200)
    assert picture.shape[1] == 200 + 8 + 200  # text is at least a panel wide
    assert picture.shape[0] > 60


def test_masks_on_another_grid():
    image, _, words = inputs()
    masks = np.zeros((2, 4, 4), np.float32)
    masks[0, :, :2] = 1
    picture = draw_co_decomposition(image, masks, CAPTION, words, NOUNS, panel=128)
    expected = 0.6 * np.array(noun_colours(1)[0]) + 0.4 * 120
    np.testing.assert_allclose(picture[64, 136 + 10], expected, atol=1.5)


@pytest.mark.parametrize(
    'caption',
    [
        '',
        '木のテーブル ☕ 😀 кофе',
        'supercalifragilistic' * 20,
        'a &lt;b&gt; \x00 \u202e|',
        'w ' * 200,
    ],
)
def test_any_caption(caption):
    image, masks, words = inputs()
    picture = draw_co_decomposition(image, masks, caption, words, NOUNS)
    assert picture.shape[2] == 3


def test_no_nouns_and_many_nouns():
    image, _, _ = inputs()
    draw_co_decomposition(image, np.zeros((0, 64, 64)), CAPTION, np.zeros((0, 20)), [])
    many = [word.text for word in caption_words(CAPTION)] * 2
    masks, words = np.ones((12, 64, 64)), np.ones((12, 20))
    draw_co_decomposition(image, masks, CAPTION, words, many)
    assert len(set(noun_colours(6))) == 6
    assert noun_colours(7)[6] == noun_colours(1)[0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(image=np.zeros((4, 4, 3))), r'uint8 array \(H, W, 3\) in RGB, but got float64'),
        (dict(image=np.zeros((3, 4, 4), np.uint8)), 'expected image'),
        (dict(region_masks=np.zeros((1, 4, 4))), r'region_masks of shape \(k, H, W\) with k = 2'),
        (dict(region_masks=np.full((2, 4, 4), 3.0)), r'in \[0, 1\].*not logits'),
        (dict(region_masks=np.full((2, 4, 4), np.nan)), r'in \[0, 1\]'),
        (dict(word_masks=np.zeros((2, 3, 4))), r'word_masks of shape \(k, l\)'),
        (dict(colours=[(0, 0, 0)]), 'expected 2 colours'),
    ],
)
def test_wrong_input(change, message):
    image, masks, words = inputs()
    arguments = dict(
        image=image, region_masks=masks, caption=CAPTION, word_masks=words, nouns=NOUNS
    )
    with pytest.raises(ValueError, match=message):
        draw_co_decomposition(**{**arguments, **change})
