"""Every trick beside its plain form: values, gradients, mixed precision."""

import pytest
import torch

from code_mm.ops.patch_convolution import patch_convolution, patch_convolution_reference
from code_mm.ops.quick_gelu import quick_gelu, quick_gelu_reference
from code_mm.ops.upsampling_convolution import (
    conv3x3_after_upsampling,
    conv3x3_after_upsampling_reference,
)

UPSAMPLING = conv3x3_after_upsampling, conv3x3_after_upsampling_reference
PATCHES = patch_convolution, patch_convolution_reference
GELU = quick_gelu, quick_gelu_reference
CASES = {
    'upsampling, one pixel': (*UPSAMPLING, [(2, 4, 1, 1), (6, 4, 3, 3), (6,), (2, 6, 1, 1)]),
    'upsampling': (*UPSAMPLING, [(2, 4, 7, 4), (6, 4, 3, 3), (6,), (2, 6, 7, 4)]),
    'upsampling, no residual': (*UPSAMPLING, [(1, 2, 3, 4), (5, 2, 3, 3), (5,)]),
    'patches': (*PATCHES, [(2, 3, 8, 12), (5, 3, 4, 4)]),
    'patches, pixels left over': (*PATCHES, [(2, 3, 9, 7), (5, 3, 4, 4)]),
    'QuickGELU': (*GELU, [(3, 40)]),
}
HALVES = [torch.bfloat16, torch.float16]


def inputs(shapes, dtype, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return [
        (scale * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_()
        for shape in shapes
    ]


def value_and_gradients(function, arguments):
    result = function(*arguments)
    weights = torch.linspace(-1, 2, result.numel(), dtype=torch.float64).view(result.shape)
    grads = torch.autograd.grad((result * weights).sum(), arguments)
    return result, *grads


@pytest.mark.parametrize('name', CASES)
def test_agrees_with_the_plain_form(name):
    trick, plain, shapes = CASES[name]
    arguments = inputs(shapes, torch.float64, scale=10 if trick is quick_gelu else 1)
    torch.testing.assert_close(
        value_and_gradients(trick, arguments), value_and_gradients(plain, arguments)
    )


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('name', ['upsampling', 'patches'])
def test_mixed_precision(name, dtype):
    """Types are those of the plain form; values lie within the rounding of a few products."""
    trick, plain, shapes = CASES[name]
    arguments = inputs(shapes, torch.float32)
    expected = value_and_gradients(plain, arguments)
    with torch.autocast('cpu', dtype=dtype):
        found = value_and_gradients(trick, arguments)
        assert found[0].dtype == plain(*arguments).dtype
    for wide, narrow in zip(expected, found, strict=True):
        tolerance = 30 * torch.finfo(dtype).eps * wide.abs().max()
        assert (narrow - wide).abs().max() < tolerance
    assert {grad.dtype for grad in found[1:]} == {torch.float32}


@pytest.mark.parametrize('dtype', HALVES)
def test_quick_gelu_in_half_precision(dtype):
    x = torch.linspace(-40, 40, 161).to(dtype).requires_grad_()
    found = value_and_gradients(quick_gelu, [x])
    expected = value_and_gradients(quick_gelu_reference, [x.detach().double().requires_grad_()])
    for narrow, wide in zip(found, expected, strict=True):
        assert narrow.dtype == dtype
        torch.testing.assert_close(narrow.double(), wide, rtol=0.02, atol=0.02)


def test_a_frozen_kernel_of_patches_gets_no_gradient():
    image, weight = inputs([(1, 3, 8, 8), (2, 3, 4, 4)], torch.float32)
    patch_convolution(image, weight.requires_grad_(False)).sum().backward()
    torch.testing.assert_close(image.grad, weight.sum(0).repeat(1, 2, 2)[None])
    assert weight.grad is None
