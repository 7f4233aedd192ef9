import numpy as np

from code_mm.visualization.colour_regions import colour_regions

PALETTE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]
LABELS = np.zeros((8, 9), np.int32)  # the left third is background, then two classes
LABELS[:4, 3:], LABELS[4:, 3:] = 1, 2


def test_colours_of_inner_pixels_and_borders():
    image = np.full((8, 9, 3), 100, np.uint8)
    picture = colour_regions(image, LABELS, PALETTE, 0.5, plain=0)
    assert tuple(picture[0, 0]) == (100, 100, 100)  # plain
    assert tuple(picture[0, 2]) == (100, 100, 100)  # plain, though at a border
    assert tuple(picture[0, 8]) == (150, 50, 50)  # half and half
    assert tuple(picture[0, 3]) == (200, 0, 0)  # beside the background: outlined
    assert tuple(picture[7, 8]) == (50, 50, 150)
    assert tuple(picture[4, 8]) == (0, 0, 200)
    coloured = colour_regions(image, LABELS, PALETTE, 0.5)
    assert tuple(coloured[0, 0]) == (50, 50, 50)


def test_without_outline_and_with_a_label_that_has_no_colour():
    image = np.full((8, 9, 3), 100, np.uint8)
    labels = np.where(LABELS == 2, 255, LABELS)
    picture = colour_regions(image, labels, PALETTE, 0.5, plain=255, outline=False)
    assert tuple(picture[0, 3]) == tuple(picture[0, 8]) == (150, 50, 50)  # borders alike
    assert tuple(picture[7, 8]) == (100, 100, 100)
    assert tuple(picture[0, 0]) == (50, 50, 50)
