import numpy as np
import pytest

from code_mm.apis.background_suggestion import otsu_threshold, suggest_background_threshold
from code_mm.apis.input_images import list_images


def slow_otsu(histogram):
    """The border with the least variance within the two groups, pixel by pixel."""
    bins = len(histogram)
    centres = (np.arange(bins) + 0.5) / bins
    values = np.repeat(centres, histogram)
    within = {}
    for border in range(1, bins):
        groups = [values[values < border / bins], values[values >= border / bins]]
        if all(len(group) for group in groups):
            within[border] = sum(len(g) * g.var() for g in groups) / len(values)
    best = min(within.values())
    borders = [b for b, v in within.items() if v <= best + 1e-12]
    return round(np.mean(borders)) / bins, 1 - best / values.var()


@pytest.mark.parametrize('seed', range(4))
def test_otsu_against_all_borders(seed):
    histogram = np.random.default_rng(seed).integers(0, 30, 40)
    np.testing.assert_allclose(otsu_threshold(histogram), slow_otsu(histogram), atol=1e-9)


def test_two_groups_are_parted_in_the_middle_of_the_gap():
    histogram = np.zeros(100, int)
    histogram[[10, 11, 70, 71]] = [500, 500, 20, 20]
    threshold, separability = otsu_threshold(histogram)
    assert threshold == pytest.approx((12 + 70) / 2 / 100, abs=0.011)
    assert separability > 0.99


def test_known_separabilities_of_single_groups():
    """Evenly spread: 3/4; normal: 2/pi."""
    assert otsu_threshold(np.full(256, 9))[1] == pytest.approx(0.75, abs=1e-3)
    bell = np.exp(-0.5 * (np.linspace(-5, 5, 256)) ** 2) * 1e6
    assert otsu_threshold(bell.astype(int))[1] == pytest.approx(2 / np.pi, abs=1e-3)


def test_one_score_everywhere():
    histogram = np.zeros(256, int)
    histogram[3] = 5
    with pytest.raises(ValueError, match='all pixels have the same one'):
        otsu_threshold(histogram)


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


def test_no_readable_image(inferencer, photos):
    with pytest.raises(ValueError, match='there was none'):
        suggest_background_threshold(inferencer, list_images([photos / 'text.jpg']), ('cat',))
