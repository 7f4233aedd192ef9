import numpy as np
import pytest

from code_mm.visualization import distinct_palette, draw_co_decomposition

CAPTION = 'a red circle on the grass'
NOUNS = ['circle', 'grass']


def inputs(size=(64, 64)):
    """A grey image, whose upper half is the first noun and whose lower half the second."""
    image = np.full((*size, 3), 120, np.uint8)
    masks = np.zeros((2, *size), np.float32)
    masks[0, : size[0] // 2] = 1
    masks[1, size[0] // 2 :] = 1
    words = np.zeros((2, 20), np.float32)
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
        expected = 0.6 * np.array(distinct_palette(2)[j]) + 0.4 * 120
        np.testing.assert_allclose(right[row, 64], expected, atol=1.5)
    below = picture[128:]
    assert all(contains(below[:, -128:], colour) for colour in distinct_palette(2))
    # left: the untouched image, nouns underlined, words without ground
    assert (picture[:128, :128] == 120).all()
    assert all(contains(below[:, :128], colour) for colour in distinct_palette(2))


def test_strength_follows_probability_and_is_dark_without_region():
    image, masks, words = inputs()
    weak = draw_co_decomposition(image, 0.5 * masks, CAPTION, 0.3 * words, NOUNS, panel=128)
    strong = np.array(distinct_palette(1)[0])
    assert contains(weak[128:, -128:], 255 - 0.3 * (255 - strong))
    shade = 120 * (0.55 + 0.45 * 0.5)
    np.testing.assert_allclose(weak[30, -64], 0.3 * strong + 0.7 * shade, atol=1.5)
    none = draw_co_decomposition(image, 0 * masks, CAPTION, None, NOUNS, panel=128)
    np.testing.assert_allclose(none[64, -64], 0.55 * 120, atol=1)


@pytest.mark.parametrize('size', [(480, 640), (7, 300), (1, 1)])
def test_any_image_size_and_masks_of_another_grid(size):
    image, masks, words = inputs(size)
    for regions in (masks, np.ones((2, 4, 4), np.float32)):
        picture = draw_co_decomposition(image, regions, CAPTION, words, NOUNS, panel=200)
        assert picture.shape[1] == 200 + 8 + 200  # text is at least a panel wide


@pytest.mark.parametrize(
    'caption',
    ['', '木のテーブル ☕ 😀 кофе', 'longword' * 40, 'a &lt;b&gt; \x00 \u202e|', 'w ' * 200],
)
def test_any_caption_and_any_number_of_nouns(caption):
    image, masks, words = inputs()
    assert draw_co_decomposition(image, masks, caption, words, NOUNS).shape[2] == 3
    draw_co_decomposition(image, np.zeros((0, 64, 64)), caption, np.zeros((0, 20)), [])
    many = np.ones((12, 64, 64)), caption, np.ones((12, 20)), [f'noun{i}' for i in range(12)]
    draw_co_decomposition(image, *many)
