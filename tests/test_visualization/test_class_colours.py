from code_mm.visualization import class_colours
from code_mm.visualization.palette import distinct_palette

PALETTE = [(0, 0, 0), (9, 9, 9), [1, 2, 3]]


def test_distinct_colours_go_to_the_classes_that_occur():
    first, second = distinct_palette(2)
    assert class_colours([7, 2, 7], PALETTE) == {2: first, 7: second}
    assert list(class_colours([7, 2], PALETTE)) == [2, 7]


def test_colours_of_the_data_set():
    assert class_colours({2, 1}, PALETTE, distinct=False) == {1: (9, 9, 9), 2: (1, 2, 3)}


def test_nothing_to_colour():
    assert class_colours([], PALETTE) == {}
