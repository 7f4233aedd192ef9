import numpy as np
import pytest
from tiny_model import tiny_code

from code_mm.apis.class_check import (
    confusable_class_names,
    otsu_threshold,
    suggest_background_threshold,
)
from code_mm.apis.input_images import list_images


@pytest.fixture(scope='module')
def model():
    return tiny_code().eval()


def embeddings(model, names):
    model.set_background_threshold(None)
    model.set_class_names(names)
    if hasattr(model, 'vocabulary'):
        return model.vocabulary.embeddings
    return model.decode_head.class_embeddings


def test_pairs_are_the_cosines_of_the_models_embeddings(model):
    words = ('cat', 'dog', 'car|automobile')
    model.set_background_threshold(0.4)
    model.set_class_names(['background', 'cat'])
    found = confusable_class_names(model, words, quantile=0.5)
    apart = embeddings(model, ['cat', 'dog', 'car', 'automobile'])
    cosine = apart @ apart.T
    expected = {
        ('cat', 'dog'): cosine[0, 1],
        ('cat', words[2]): cosine[0, 2:].max(),
        ('dog', words[2]): cosine[1, 2:].max(),
    }
    assert {pair[:2] for pair in found.pairs} == set(expected)
    for first, second, value in found.pairs:
        assert value == pytest.approx(float(expected[first, second]), abs=1e-6)
    values = [value for *_, value in found.pairs]
    assert values == sorted(values, reverse=True)
    assert found.limit == pytest.approx(values[1])
    assert found.confusable == found.pairs[:2]


def test_a_name_written_in_two_ways_comes_first(model):
    """CLIP's tokenizer knows no capitals: 'Cat' is 'cat'."""
    found = confusable_class_names(model, ('boat', 'cat', 'moon', 'Cat'), quantile=0.99)
    assert [pair[:2] for pair in found.confusable] == [('cat', 'Cat')]
    assert found.pairs[0][2] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    'words, quantile, message',
    [(('cat',), 0.9, 'at least two'), (('cat', 'dog'), 1.5, r'quantile in \[0, 1\]')],
)
def test_mistakes(model, words, quantile, message):
    with pytest.raises(ValueError, match=message):
        confusable_class_names(model, words, quantile)


def slow_otsu(histogram):
    """The border with the least variance within the two groups, pixel by pixel."""
    bins = len(histogram)
    values = np.repeat((np.arange(bins) + 0.5) / bins, histogram)
    within = {}
    for border in range(1, bins):
        groups = [values[values < border / bins], values[values >= border / bins]]
        if all(len(group) for group in groups):
            within[border] = sum(len(g) * g.var() for g in groups) / len(values)
    best = min(within.values())
    borders = [b for b, v in within.items() if v <= best + 1e-12]
    return round(np.mean(borders)) / bins, 1 - best / values.var()


@pytest.mark.parametrize('seed', range(3))
def test_otsu_against_all_borders(seed):
    histogram = np.random.default_rng(seed).integers(0, 30, 40)
    np.testing.assert_allclose(otsu_threshold(histogram), slow_otsu(histogram), atol=1e-9)


def test_two_groups_and_known_separabilities_of_single_ones():
    histogram = np.zeros(100, int)
    histogram[[10, 11, 70, 71]] = [500, 500, 20, 20]
    threshold, separability = otsu_threshold(histogram)
    assert threshold == pytest.approx((12 + 70) / 2 / 100, abs=0.011)
    assert separability > 0.99
    # evenly spread: 3/4; normal: 2/pi
    assert otsu_threshold(np.full(256, 9))[1] == pytest.approx(0.75, abs=1e-3)
    bell = np.exp(-0.5 * (np.linspace(-5, 5, 256)) ** 2) * 1e6
    assert otsu_threshold(bell.astype(int))[1] == pytest.approx(2 / np.pi, abs=1e-3)
    with pytest.raises(ValueError, match='all pixels have the same one'):
        otsu_threshold(np.eye(256, dtype=int)[3])


def test_the_best_class_of_every_pixel_is_counted(inferencer, photos):
    images = list_images([photos / 'a.png', photos / 'c.png'])
    found = suggest_background_threshold(inferencer, images, ('cat', 'dog'), 2)
    query = inferencer.query('cat, dog', background_threshold=0.9)
    best = np.concatenate(
        [r.scores[1:].max(0).ravel() for r in inferencer.segment(images, query, keep_scores=True)]
    )
    expected = otsu_threshold(np.histogram(best, 256, (0, 1))[0])
    assert (found.threshold, found.separability) == expected
    assert found.share_above == pytest.approx((best >= found.threshold).mean(), abs=1e-6)
    assert found.num_images == 2
    assert found.trustworthy == (found.separability > 0.75)
    with pytest.raises(ValueError, match='there was none'):
        suggest_background_threshold(inferencer, list_images([photos / 'text.jpg']), ('cat',))
