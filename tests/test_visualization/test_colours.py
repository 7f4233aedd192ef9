import cv2
import numpy as np
import pytest

from code_mm.visualization import distinct_palette
from code_mm.visualization.colours import paint_labels


def lab_distances(colours):
    pixels = np.float32(colours)[None] / 255
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return distance[np.triu_indices(len(colours), 1)]


@pytest.mark.parametrize('n, least', [(2, 60), (21, 20), (150, 9)])
def test_colours_are_far_apart(n, least):
    assert lab_distances(distinct_palette(n)).min() > least


def test_many_colours_are_different_and_begin_alike():
    colours = distinct_palette(1000)
    assert len(set(colours)) == 1000
    assert all(type(v) is int and 0 <= v <= 255 for colour in colours for v in colour)
    assert colours[:7] == distinct_palette(7) and colours[:2] == distinct_palette(2)
    with pytest.raises(ValueError, match='at most 4096'):
        distinct_palette(5000)


def test_painted_and_plain_regions_and_their_borders():
    image = np.full((8, 9, 3), 100, np.uint8)
    labels = np.zeros((8, 9), np.int32)  # the left third is plain, then two classes
    labels[:4, 3:], labels[4:, 3:] = 1, 2
    colours = {1: (200, 0, 0), 2: (0, 0, 200)}
    picture = paint_labels(image, labels, colours, 0.5)
    assert tuple(picture[0, 2]) == (100, 100, 100)  # plain, also at its border
    assert tuple(picture[0, 8]) == (150, 50, 50)  # half and half
    assert tuple(picture[0, 3]) == (200, 0, 0)  # beside the plain region: outlined
    assert tuple(picture[7, 8]) == (50, 50, 150)
    assert tuple(picture[4, 8]) == (0, 0, 200)
    white = paint_labels(image, labels, colours, 0.5, outline=(255, 255, 255))
    assert tuple(white[0, 3]) == tuple(white[4, 8]) == (255, 255, 255)
    assert tuple(white[0, 8]) == (150, 50, 50)
