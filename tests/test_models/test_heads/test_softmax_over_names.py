import math
from types import SimpleNamespace

import pytest
import torch

from code_mm.models.heads import SoftmaxOverNames

HEAD = SimpleNamespace(synonyms_per_class=(2, 1, 3))


def cosines(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def by_hand(pixel, scale, counts):
    """Class scores of one pixel's cosines, in plain Python."""
    powers = [math.exp(scale * c) for c in pixel]
    shares = [p / sum(powers) for p in powers]
    scores = []
    for count in counts:
        scores.append(max(shares[:count]))
        shares = shares[count:]
    return scores


def test_a_class_takes_the_probability_of_its_best_name():
    similarity = cosines(2, 6, 3, 4)
    found = SoftmaxOverNames(scale=7.0)(similarity, HEAD)
    assert found.shape == (2, 3, 3, 4)
    for b in range(2):
        for y in range(3):
            for x in range(4):
                expected = by_hand(similarity[b, :, y, x].tolist(), 7.0, (2, 1, 3))
                assert found[b, :, y, x].tolist() == pytest.approx(expected, rel=1e-5)


def test_it_differs_from_a_softmax_over_classes():
    """A class of many names takes probability from all, also from its own names."""
    similarity = torch.tensor([0.2, 0.2, 0.25, 0.0, 0.0, 0.0])[None, :, None, None]
    found = SoftmaxOverNames(scale=10.0)(similarity, HEAD).flatten()
    total = 2 * math.exp(2) + math.exp(2.5) + 3
    assert found.tolist() == pytest.approx([math.exp(2) / total, math.exp(2.5) / total, 1 / total])


def test_unsure_pixels_become_background():
    similarity = cosines(1, 6, 8, 8)
    plain = SoftmaxOverNames(scale=3.0)(similarity, HEAD)
    threshold = plain.amax(1).median().item()
    found = SoftmaxOverNames(scale=3.0, min_score=threshold)(similarity, HEAD).argmax(1)
    expected = plain.argmax(1)
    expected[plain.amax(1) < threshold] = 0
    assert torch.equal(found, expected)
    assert (found != plain.argmax(1)).any()


def test_classes_of_few_pixels_are_left_out():
    # 10 background pixels, 9 of class 1, one of class 2, whose second choice is class 1
    similarity = torch.zeros(1, 3, 4, 5)
    similarity[0, 0, :2] = 1.0
    similarity[0, 1, 2:] = 0.9
    similarity[0, 2, 3, 4] = 1.0
    head = SimpleNamespace(synonyms_per_class=(1, 1, 1))
    kept = SoftmaxOverNames(10.0, min_share=0.09)(similarity, head).argmax(1)[0]
    gone = SoftmaxOverNames(10.0, min_share=0.1)(similarity, head).argmax(1)[0]
    assert (kept[3, 4], gone[3, 4]) == (2, 1)
    kept[3, 4] = 1
    assert torch.equal(kept, gone)
    # every image has shares of its own
    pair = torch.cat([similarity, similarity.flip(1)])
    both = SoftmaxOverNames(10.0, min_share=0.1)(pair, head).argmax(1)
    assert torch.equal(both[0], gone)
    alone = SoftmaxOverNames(10.0, min_share=0.1)(pair[1:], head).argmax(1)
    assert torch.equal(both[1], alone[0])


@pytest.mark.parametrize(
    ('keys', 'match'),
    [
        (dict(scale=0.0), 'scale > 0, but got 0.0'),
        (dict(min_score=1.5), r'min_score in \(0, 1\) or None, but got 1.5'),
        (dict(min_share=0.0), r'min_share in \(0, 1\) or None, but got 0.0'),
    ],
)
def test_values_out_of_range(keys, match):
    with pytest.raises(ValueError, match=match):
        SoftmaxOverNames(**keys)
