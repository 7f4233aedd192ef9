import numpy as np
import pytest

from code_mm.visualization import draw_overlay
from code_mm.visualization.overlay import share_text

PALETTE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
CLASSES = ['background', 'cat', 'grüner дом']


def labels_of(height, width):
    """The left third is background, then two classes."""
    labels = np.zeros((height, width), np.int32)
    labels[:, width // 3 :] = 1
    labels[height // 2 :, width // 3 :] = 2
    return labels


def test_the_legend_names_what_is_there():
    image, labels = np.full((500, 600, 3), 100, np.uint8), labels_of(500, 600)
    for present in (labels, np.zeros_like(labels)):
        picture = draw_overlay(image, present, CLASSES, PALETTE, plain=0)
        assert picture.shape[1] == 600 and picture.shape[0] > 500
        for label in (1, 2):
            named = (picture[500:] == PALETTE[label]).all(-1).any()
            assert named == (present == label).any()
    np.testing.assert_array_equal(picture[:500], image)  # the background is not coloured
    whole = [
        draw_overlay(image, present, CLASSES, PALETTE, plain=0, whole_legend=True).shape
        for present in (labels, np.zeros_like(labels))
    ]
    assert whole[0] == whole[1]  # frames of a video have one size


def test_small_images_are_enlarged():
    image = np.full((8, 12, 3), 100, np.uint8)
    picture = draw_overlay(image, labels_of(8, 12), CLASSES, PALETTE, opacity=1.0, plain=0)
    assert picture.shape[1] == 480 and picture.shape[0] > 320
    assert tuple(picture[0, 0]) == (100, 100, 100)
    assert tuple(picture[0, 479]) == (200, 0, 0)
    assert tuple(picture[319, 479]) == (0, 0, 200)
    thin = draw_overlay(np.full((600, 2, 3), 9, np.uint8), np.ones((600, 2), int), CLASSES, PALETTE)
    assert thin.shape[1] >= 12 * 14  # room for the legend


def test_shares():
    shares = {0: '0 %', 1: '100 %', 0.34: '34 %', 0.0072: '0.7 %', 0.0004: '<0.1 %'}
    assert {share: share_text(share) for share in shares} == shares


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(labels=np.zeros((3, 3), int)), r'shape of the image \(8, 12\), but got \(3, 3\)'),
        (dict(opacity=1.2), 'opacity in'),
    ],
)
def test_mistakes(change, message):
    keys = dict(image=np.zeros((8, 12, 3), np.uint8), labels=labels_of(8, 12))
    keys.update(classes=CLASSES, palette=PALETTE)
    with pytest.raises(ValueError, match=message):
        draw_overlay(**{**keys, **change})
