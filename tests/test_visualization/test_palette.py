import cv2
import numpy as np
import pytest

from code_mm.visualization.palette import distinct_palette


def lab_distances(colours):
    pixels = np.float32(colours)[None] / 255
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return distance[np.triu_indices(len(colours), 1)]


@pytest.mark.parametrize('n, least', [(2, 60), (21, 20), (60, 15), (150, 9)])
def test_colours_are_far_apart(n, least):
    assert lab_distances(distinct_palette(n)).min() > least


def test_a_thousand_are_all_different_and_plain_numbers():
    colours = distinct_palette(1000)
    assert len(set(colours)) == 1000
    assert all(type(v) is int and 0 <= v <= 255 for colour in colours for v in colour)


def test_the_colour_of_a_class_does_not_depend_on_how_many_follow():
    assert distinct_palette(300)[:7] == distinct_palette(7)
    assert distinct_palette(0) == []


def test_too_many():
    with pytest.raises(ValueError, match='at most 4096'):
        distinct_palette(5000)
