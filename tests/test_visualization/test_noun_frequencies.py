import numpy as np
import pytest

from code_mm.visualization.noun_frequencies import draw_noun_frequencies

BAR = np.array([0x3B, 0x6E, 0xA8])


def bar_lengths(picture):
    """Pixels of each bar, from top to bottom."""
    is_bar = (picture == BAR).all(-1).sum(1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_bar > 0, [0]]).astype(int)))
    return [int(is_bar[start:stop].max()) for start, stop in edges.reshape(-1, 2)]


def test_bars_are_in_proportion_and_in_order():
    picture = draw_noun_frequencies(dict(cat=20, dog=40, ant=10, bee=1), 100, number=3)
    assert picture.dtype == np.uint8
    lengths = bar_lengths(picture)
    assert len(lengths) == 3
    np.testing.assert_allclose(np.divide(lengths, lengths[0]), [1, 0.5, 0.25], atol=0.02)


def test_equal_numbers_are_sorted_by_name():
    first = draw_noun_frequencies(dict(a=2, b=2), 2)
    assert (first == draw_noun_frequencies(dict(b=2, a=2), 2)).all()


@pytest.mark.parametrize('noun', ['$x^', 'a$b$', 'x' * 200, '犬', '_', '\\frac', '%'])
def test_any_noun_can_be_drawn(noun):
    assert len(bar_lengths(draw_noun_frequencies({noun: 3}, 3))) == 1


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='expected nouns and captions, but got 0 and 3'):
        draw_noun_frequencies({}, 3)
