"""Keys that trade time for memory: same losses, same gradients."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from tiny_model import caption_samples, images, tiny_code


def losses_and_gradients(model, seed=3):
    torch.manual_seed(seed)
    losses = model.loss(images(2, 32, 32), caption_samples())
    sum(losses.values()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint', 'ignore:None of the inputs')
def test_activation_checkpointing_of_the_frozen_towers_blocks():
    """MMEngine's key ``activation_checkpointing``: a list of modules."""
    expected = losses_and_gradients(tiny_code())
    model, calls = tiny_code(), []
    blocks = model.backbone.visual.transformer.resblocks
    blocks[0].mlp.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    names = [f'backbone.visual.transformer.resblocks.{i}' for i in range(len(blocks) - 1)]
    turn_on_activation_checkpointing(model, names)
    torch.testing.assert_close(losses_and_gradients(model), expected)
    # the trunk and the highlighted images without a graph, the latter once more with one
    assert calls == [False, False, True]


def test_gradient_accumulation_is_the_mean_of_the_parts():
    """``accumulative_counts``: contrast is within each part, which the joined batch exceeds."""
    model = tiny_code()
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    parts = [losses_and_gradients(copy.deepcopy(model), seed)[1] for seed in (3, 4)]
    wrapper = OptimWrapper(
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0),
        accumulative_counts=2,
    )
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    wrapper.initialize_count_status(model, 0, 2)
    for seed in (3, 4):
        torch.manual_seed(seed)
        losses = model.loss(images(2, 32, 32), caption_samples())
        wrapper.update_params(sum(losses.values()))
    joined = tiny_code()
    torch.manual_seed(3)
    sum(joined.loss(images(4, 32, 32), caption_samples() * 2).values()).backward()
    after = dict(model.named_parameters())
    contrast = 'losses.region_word.logit_scale'  # more negatives, another gradient
    own = (parts[0][contrast] + parts[1][contrast]) / 2
    assert abs(joined.get_parameter(contrast).grad - own) > 0.1 * abs(own)
    for name in names:
        moved = before[name] - after[name].detach()
        mean = (parts[0][name] + parts[1][name]) / 2
        torch.testing.assert_close(moved, mean, atol=1e-4, rtol=1e-3, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_is_finite_and_near_full_precision(dtype):
    expected, _ = losses_and_gradients(tiny_code())
    model = tiny_code()
    with torch.autocast('cpu', dtype=dtype):
        torch.manual_seed(3)
        losses = model.loss(images(2, 32, 32), caption_samples())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    tolerance = 40 * torch.finfo(dtype).eps
    for name, value in losses.items():
        torch.testing.assert_close(value.detach(), expected[name], atol=tolerance, rtol=tolerance)
