import pytest
import torch
import torch.nn.functional as F

from code_mm.ops import patch_convolution


@pytest.mark.parametrize('size', [(8, 12), (9, 7)])
def test_values_and_gradients_are_those_of_a_convolution(size):
    generator = torch.Generator().manual_seed(0)
    own = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 3, *size), (5, 3, 4, 4))
    ]
    plain = [x.detach().clone().requires_grad_() for x in own]
    result, expected = patch_convolution(*own), F.conv2d(*plain, stride=4)
    torch.testing.assert_close(result, expected)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad((result * weights).sum(), own),
        torch.autograd.grad((expected * weights).sum(), plain),
    )


def test_a_frozen_kernel_gets_no_gradient():
    image, weight = torch.randn(1, 3, 8, 8, requires_grad=True), torch.randn(2, 3, 4, 4)
    patch_convolution(image, weight).sum().backward()
    expected = weight.sum(0).repeat(1, 2, 2)[None]
    torch.testing.assert_close(image.grad, expected)
    assert weight.grad is None


def test_mixed_precision():
    image = torch.randn(1, 3, 8, 8, requires_grad=True)
    weight = torch.randn(2, 3, 4, 4, requires_grad=True)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = patch_convolution(image, weight)
    result.float().sum().backward()
    assert result.dtype == torch.bfloat16
    assert image.grad.dtype == weight.grad.dtype == torch.float32
    expected = weight.detach().sum(0).repeat(1, 2, 2)[None]
    torch.testing.assert_close(image.grad, expected, atol=0.05, rtol=0.02)
