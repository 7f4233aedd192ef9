import pytest
import torch

from code_mm.models.losses import knowledge_guided_loss
from code_mm.registry import MODELS


def test_equals_mean_of_cosine_distances():
    noun, guide = torch.randn(2, 5, 8)
    pairs = zip(noun, guide, strict=True)
    expected = sum(1 - torch.cosine_similarity(n, g, dim=0) for n, g in pairs) / 5
    torch.testing.assert_close(knowledge_guided_loss(noun, guide), expected)


def test_squared_l2_is_twice_the_cosine_distance_with_twice_the_gradient():
    noun, guide = torch.randn(2, 5, 8, dtype=torch.float64)
    noun.requires_grad_()
    cosine = knowledge_guided_loss(noun, guide)
    squared = knowledge_guided_loss(noun, guide, mode='squared_l2')
    unit = (x / x.norm(dim=1, keepdim=True) for x in (noun, guide))
    difference = next(unit) - next(unit)
    torch.testing.assert_close(squared, difference.square().sum(1).mean())
    torch.testing.assert_close(squared, 2 * cosine)
    grads = [torch.autograd.grad(x, noun)[0] for x in (squared, cosine)]
    torch.testing.assert_close(grads[0], 2 * grads[1])


def test_opposite_and_equal_embeddings():
    x = torch.randn(3, 4)
    assert knowledge_guided_loss(x, 2 * x).item() == pytest.approx(0, abs=1e-6)
    assert knowledge_guided_loss(x, -x).item() == pytest.approx(2)
    assert knowledge_guided_loss(x, -x, 'squared_l2').item() == pytest.approx(4)


def test_module_weighs_the_loss_and_spares_the_guide():
    noun, guide = (x.requires_grad_() for x in torch.randn(2, 3, 4))
    module = MODELS.build(dict(type='KnowledgeGuidedLoss', loss_weight=8.0))
    loss = module(noun, guide)
    torch.testing.assert_close(loss, 8 * knowledge_guided_loss(noun, guide))
    loss.backward()
    assert noun.grad.abs().sum() > 0
    assert guide.grad is None


def test_half_precision_is_computed_in_fp32():
    noun, guide = torch.randn(2, 3, 64).half()
    loss = knowledge_guided_loss(noun, guide)
    torch.testing.assert_close(loss, knowledge_guided_loss(noun.float(), guide.float()))


@pytest.mark.parametrize('mode', ['cosine', 'squared_l2'])
def test_two_processes(assert_two_processes_equal_one, mode):
    assert_two_processes_equal_one(
        dict(type='KnowledgeGuidedLoss', mode=mode), *torch.randn(2, 4, 8)
    )


def test_rejects_unknown_mode_and_unequal_shapes():
    with pytest.raises(ValueError, match=r"one of .*'squared_l2'.*but got 'l2'"):
        MODELS.build(dict(type='KnowledgeGuidedLoss', mode='l2'))
    with pytest.raises(ValueError, match="but got 'l2'"):
        knowledge_guided_loss(torch.zeros(1, 2), torch.zeros(1, 2), mode='l2')
    with pytest.raises(ValueError, match=r'one shape, but got \(1, 2\) and \(3, 2\)'):
        knowledge_guided_loss(torch.zeros(1, 2), torch.zeros(3, 2))
