import numpy as np
import pytest

from code_mm.visualization.overlay import draw_overlay, share_text

PALETTE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
CLASSES = ['background', 'cat', 'grüner дом']


def labels_of(height, width):
    """The left third is background, then two classes."""
    labels = np.zeros((height, width), np.int32)
    labels[:, width // 3 :] = 1
    labels[height // 2 :, width // 3 :] = 2
    return labels


def colours_below(picture, height):
    return {
        tuple(int(v) for v in colour)
        for colour in np.unique(picture[height:].reshape(-1, 3), axis=0)
    }


def test_the_legend_names_what_is_there():
    image, labels = np.full((500, 600, 3), 100, np.uint8), labels_of(500, 600)
    picture = draw_overlay(image, labels, CLASSES, PALETTE, plain=0)
    assert picture.shape[1] == 600 and picture.shape[0] > 500
    below = colours_below(picture, 500)
    assert (200, 0, 0) in below and (0, 0, 200) in below
    none = draw_overlay(image, np.zeros_like(labels), CLASSES, PALETTE, plain=0)
    below = colours_below(none, 500)
    assert (200, 0, 0) not in below and (0, 0, 200) not in below
    np.testing.assert_array_equal(none[:500], image)


def test_a_whole_legend_has_one_size_for_all_frames():
    image = np.full((500, 600, 3), 100, np.uint8)
    shapes = {
        draw_overlay(image, labels, CLASSES, PALETTE, plain=0, whole_legend=True).shape
        for labels in (labels_of(500, 600), np.zeros((500, 600), np.int32))
    }
    assert len(shapes) == 1


def test_small_images_are_enlarged():
    image = np.full((8, 12, 3), 100, np.uint8)
    picture = draw_overlay(image, labels_of(8, 12), CLASSES, PALETTE, opacity=1.0, plain=0)
    assert picture.shape[1] == 480 and picture.shape[0] > 320
    assert tuple(picture[0, 0]) == (100, 100, 100)
    assert tuple(picture[0, 479]) == (200, 0, 0)
    assert tuple(picture[319, 479]) == (0, 0, 200)


@pytest.mark.parametrize(
    'share, text',
    [(0, '0 %'), (1, '100 %'), (0.34, '34 %'), (0.0072, '0.7 %'), (0.0004, '<0.1 %')],
)
def test_shares(share, text):
    assert share_text(share) == text


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(labels=np.zeros((3, 3), int)), r'shape of the image \(8, 12\), but got \(3, 3\)'),
        (dict(labels=np.full((8, 12), 3)), r'below 3 .* but got \[3\]'),
        (dict(palette=PALETTE[:2]), r'colour per class \(3\), but got 2'),
        (dict(opacity=1.2), 'opacity in'),
        (dict(image=np.zeros((8, 12), np.uint8)), r'uint8 array \(H, W, 3\)'),
    ],
)
def test_mistakes(change, message):
    keys = dict(
        image=np.zeros((8, 12, 3), np.uint8),
        labels=labels_of(8, 12),
        classes=CLASSES,
        palette=PALETTE,
    )
    with pytest.raises(ValueError, match=message):
        draw_overlay(**{**keys, **change})
