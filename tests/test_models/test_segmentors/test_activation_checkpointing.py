"""Activation checkpointing changes memory and time, never results."""

import pytest
import torch
from tiny_model import SIZES, caption_samples, images, tiny_code

CHECKPOINTED = dict(
    backbone=dict(type='CLIP', **SIZES, with_cp=True),
    image_segmenter=dict(type='ImageSegmenter', with_cp=True),
)


def step(model):
    """Losses, gradients and the bytes that autograd keeps for the backward pass."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = model.loss(images(2, 32, 32), caption_samples())
    sum(losses.values()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return losses, gradients, sum(kept.values())


@pytest.mark.parametrize('frozen_block', [False, True])
def test_same_losses_and_gradients_with_less_kept(frozen_block):
    found = []
    for keys in ({}, CHECKPOINTED):
        model = tiny_code(**keys).train()
        model.image_segmenter.block.requires_grad_(not frozen_block)  # the first stage
        found.append(step(model))
    (losses, gradients, kept), (losses_cp, gradients_cp, kept_cp) = found
    assert losses.keys() == losses_cp.keys()
    for name, value in losses.items():
        assert torch.equal(value, losses_cp[name]), name
    assert gradients.keys() == gradients_cp.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, gradients_cp[name], msg=name)
    assert kept_cp < 0.7 * kept


def test_keys_of_checkpoints_do_not_change():
    assert tiny_code(**CHECKPOINTED).state_dict().keys() == tiny_code().state_dict().keys()
