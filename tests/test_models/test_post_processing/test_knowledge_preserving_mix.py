import math

import pytest
import torch

from code_mm.models.post_processing import KnowledgePreservingMix
from code_mm.registry import MODELS


def test_mix_on_one_pixel_by_hand():
    mix = MODELS.build(dict(type='KnowledgePreservingMix', weight=0.3, scale=10.0, threshold=0.25))
    features = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)  # cosine .6 with the first axis
    masks = torch.full((1, 1, 2, 2), 0.5)
    mixed = mix(masks, features, torch.tensor([[1.0, 0.0]]))
    expected = 0.3 / (1 + math.exp(-10 * (0.6 - 0.25))) + 0.7 * 0.5
    torch.testing.assert_close(mixed, torch.full((1, 1, 2, 2), expected))


def test_the_frozen_branch_is_interpolated_to_the_masks_grid():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, 3, 4, generator=generator)
    classes = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=1)
    mixed = KnowledgePreservingMix(weight=1.0)(torch.zeros(2, 6, 12, 16), features, classes)
    for b in range(2):
        for m in range(6):
            cosine = torch.cosine_similarity(features[b], classes[m][:, None, None], dim=0)
            frozen = torch.sigmoid(10 * (cosine - 0.25))[None, None]
            expected = torch.nn.functional.interpolate(frozen, size=(12, 16), mode='bilinear')
            torch.testing.assert_close(mixed[b, m], expected[0, 0])


@pytest.mark.parametrize('weight', [-0.1, 0.0, 1.1])
def test_weight_outside_its_range(weight):
    with pytest.raises(ValueError, match=r'expected a weight in \(0, 1\]'):
        KnowledgePreservingMix(weight=weight)
