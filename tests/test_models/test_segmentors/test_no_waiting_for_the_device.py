"""A step asks the device for no value: tensors without values will do.

What would wait for a GPU (``.item()``, a condition on a tensor, boolean indexing) raises an error
on PyTorch's fake tensors, which have a shape only.
"""

import pytest
import torch
from tiny_model import caption_samples, images, tiny_code
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensor,
    FakeTensorMode,
)


def fake(mode, tensor):
    return mode.from_tensor(tensor)


def without_values(mode, module):
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = torch.nn.Parameter(fake(mode, parameter.data), parameter.requires_grad)
                part._parameters[name] = moved
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = fake(mode, buffer)
    return module


def test_training_step():
    model, inputs, samples = tiny_code().train(), images(2, 32, 32), caption_samples()
    mode = FakeTensorMode()
    without_values(mode, model)
    for sample in samples:
        for name in sample.keys():  # noqa: SIM118
            sample.set_field(fake(mode, getattr(sample, name)), name)
    inputs = fake(mode, inputs)
    with mode:
        losses = model.loss(inputs, samples)
        sum(losses.values()).backward()
    assert len(losses) == 9 and all(type(value) is FakeTensor for value in losses.values())
    learnt = [p for p in model.parameters() if p.requires_grad]
    assert all(type(p.grad) is FakeTensor for p in learnt)


def test_waiting_would_be_noticed():
    with FakeTensorMode():
        values = torch.zeros(3)
        with pytest.raises(DataDependentOutputException):
            values.sum().item()
        with pytest.raises(DataDependentOutputException):
            bool(values.any())
