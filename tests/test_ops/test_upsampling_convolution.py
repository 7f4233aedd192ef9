import pytest
import torch

from code_mm.ops.upsampling_convolution import (
    conv3x3_after_upsampling,
    conv3x3_after_upsampling_reference,
)


def arguments(b, c, o, h, w, dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = [(b, c, h, w), (o, c, 3, 3), (o,), (b, o, h, w)]
    return [torch.randn(s, generator=generator, dtype=dtype, requires_grad=True) for s in shapes]


def value_and_gradients(function, inputs):
    result = function(*inputs)
    weights = torch.linspace(-1, 2, result.numel(), dtype=torch.float64).view(result.shape)
    return result, *torch.autograd.grad((result * weights).sum(), inputs)


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (7, 4)])
def test_values_and_gradients_are_those_of_the_plain_form(size):
    inputs = arguments(2, 4, 6, *size, torch.float64)
    torch.testing.assert_close(
        value_and_gradients(conv3x3_after_upsampling, inputs),
        value_and_gradients(conv3x3_after_upsampling_reference, inputs),
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision(dtype):
    """Types are those of the plain form; values lie within the rounding of a few products."""
    inputs = arguments(1, 8, 8, 3, 4, torch.float32)
    expected = value_and_gradients(conv3x3_after_upsampling_reference, inputs)
    with torch.autocast('cpu', dtype=dtype):
        found = value_and_gradients(conv3x3_after_upsampling, inputs)
        assert found[0].dtype == conv3x3_after_upsampling_reference(*inputs).dtype
    assert {grad.dtype for grad in found[1:]} == {torch.float32}
    for wide, narrow in zip(expected, found, strict=True):
        assert (narrow - wide).abs().max() < 30 * torch.finfo(dtype).eps * wide.abs().max()
