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


@pytest.mark.parametrize('weight', [-0.1, 0.0, 1.1])
def test_weight_outside_its_range(weight):
    with pytest.raises(ValueError, match=r'expected a weight in \(0, 1\]'):
        KnowledgePreservingMix(weight=weight)
