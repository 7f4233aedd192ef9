"""Memory, precision and time of a training step: same losses, same gradients."""

import pytest
import torch
from tiny_model import SIZES, caption_samples, images, tiny_code
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
)

CHECKPOINTED = dict(
    backbone=dict(type='CLIP', **SIZES, with_cp=True),
    image_segmenter=dict(type='ImageSegmenter', with_cp=True),
)


def losses_and_gradients(model, seed=3):
    torch.manual_seed(seed)
    losses = model.loss(images(2, 32, 32), caption_samples())
    sum(losses.values()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in losses.items()}, gradients


@pytest.mark.parametrize('frozen_block', [False, True])
def test_activation_checkpointing_keeps_less(frozen_block):
    found = []
    for keys in ({}, CHECKPOINTED):
        model, kept = tiny_code(**keys).train(), {}
        model.image_segmenter.tail.block.requires_grad_(not frozen_block)  # the first stage

        def keep(tensor, kept=kept):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append((losses_and_gradients(model), sum(kept.values()), model.state_dict()))
    (expected, kept, state), (checkpointed, kept_less, its_state) = found
    torch.testing.assert_close(checkpointed, expected)
    assert state.keys() == its_state.keys()
    assert kept_less < 0.7 * kept


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_is_finite_and_near_full_precision(dtype):
    expected, _ = losses_and_gradients(tiny_code())
    with torch.autocast('cpu', dtype=dtype):
        losses, gradients = losses_and_gradients(tiny_code())
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(value.dtype == torch.float32 for value in losses.values())
    tolerance = 40 * torch.finfo(dtype).eps
    torch.testing.assert_close(losses, expected, atol=tolerance, rtol=tolerance)


def without_values(mode, module):
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter.data)
                part._parameters[name] = torch.nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = buffer if buffer is None else mode.from_tensor(buffer)
    return module


def test_a_step_does_not_wait_for_the_device():
    """What would (``.item()``, a condition on a tensor) fails on tensors without values."""
    mode, samples = FakeTensorMode(), caption_samples()
    model = without_values(mode, tiny_code().train())
    for sample in samples:
        for name in sample.keys():  # noqa: SIM118
            sample.set_field(mode.from_tensor(getattr(sample, name)), name)
    inputs = mode.from_tensor(images(2, 32, 32))
    with mode:
        losses = model.loss(inputs, samples)
        sum(losses.values()).backward()
        with pytest.raises(DataDependentOutputException):
            losses['loss_area'].item()
    assert len(losses) == 9 and all(type(value) is FakeTensor for value in losses.values())
    learnt = [p for p in model.parameters() if p.requires_grad]
    assert all(type(p.grad) is FakeTensor for p in learnt)
