import pytest
import torch

from code_mm.models.losses import knowledge_guided_loss
from code_mm.registry import MODELS


def test_squared_distance_of_eq_3_1_is_twice_the_cosine_distance():
    noun, guide = (x.requires_grad_() for x in torch.randn(2, 5, 8, dtype=torch.float64))
    pairs = list(zip(noun, guide, strict=True))
    squared = sum((n / n.norm() - g / g.norm()).square().sum() for n, g in pairs) / 5
    cosine = sum(1 - torch.cosine_similarity(n, g, dim=0) for n, g in pairs) / 5
    torch.testing.assert_close(knowledge_guided_loss(noun, guide, 'squared_l2'), squared)
    torch.testing.assert_close(knowledge_guided_loss(noun, guide), cosine)
    torch.testing.assert_close(squared, 2 * cosine)
    knowledge_guided_loss(noun, guide).backward()
    assert noun.grad.any() and guide.grad is None


def test_rejects_unknown_mode_and_unequal_shapes():
    with pytest.raises(ValueError, match=r"one of .*'squared_l2'.*but got 'l2'"):
        MODELS.build(dict(type='KnowledgeGuidedLoss', mode='l2'))
    with pytest.raises(ValueError, match=r'one shape, but got \(1, 2\) and \(3, 2\)'):
        knowledge_guided_loss(torch.zeros(1, 2), torch.zeros(3, 2))
