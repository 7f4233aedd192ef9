import numpy as np
import pytest
from check_classes import otsu_threshold, similar_pairs
from tiny_model import tiny_code


def test_pairs_are_the_cosines_of_the_models_embeddings():
    model, words = tiny_code().eval(), ('cat', 'dog', 'car|automobile')
    found = similar_pairs(model, words)
    model.set_class_names(['cat', 'dog', 'car', 'automobile'])
    cosine = model.vocabulary.embeddings @ model.vocabulary.embeddings.T
    expected = {
        ('cat', 'dog'): float(cosine[0, 1]),
        ('cat', words[2]): float(cosine[0, 2:].max()),
        ('dog', words[2]): float(cosine[1, 2:].max()),
    }
    assert {pair[:2]: pair[2] for pair in found} == pytest.approx(expected, abs=1e-6)
    values = [value for *_, value in found]
    assert values == sorted(values, reverse=True)


def test_otsu_against_all_borders():
    """The border with the least variance within the two groups, pixel by pixel."""
    histogram = np.random.default_rng(0).integers(0, 30, 40)
    values = np.repeat((np.arange(40) + 0.5) / 40, histogram)
    within = {
        b: sum(len(g) * g.var() for g in (values[values < b / 40], values[values >= b / 40]))
        for b in range(1, 40)
    }
    best = min(within, key=within.get)
    expected = best / 40, 1 - within[best] / len(values) / values.var()
    np.testing.assert_allclose(otsu_threshold(histogram), expected, atol=1e-9)
    histogram = np.zeros(100, int)
    histogram[[10, 11, 70, 71]] = [500, 500, 20, 20]
    threshold, separability = otsu_threshold(histogram)
    assert threshold == pytest.approx((12 + 70) / 2 / 100, abs=0.011)  # the middle of the gap
    assert separability > 0.99
    assert otsu_threshold(np.full(256, 9))[1] == pytest.approx(0.75, abs=1e-3)  # evenly spread
    with pytest.raises(ValueError, match='all pixels have the same one'):
        otsu_threshold(np.eye(256, dtype=int)[3])
