import pytest
import torch
import torch.nn.functional as F

from code_mm.models.segmenters.gated_upsampling import _Interleave, conv3x3_after_upsampling


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (7, 4)])
def test_equals_convolving_the_upsampled_map(size):
    generator = torch.Generator().manual_seed(0)
    shapes = dict(x=(2, 4, *size), weight=(6, 4, 3, 3), bias=(6,), residual=(2, 6, *size))
    ours = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for name, shape in shapes.items()
    }
    plain = {name: value.detach().clone().requires_grad_() for name, value in ours.items()}
    result = conv3x3_after_upsampling(**ours)
    upsampled = F.interpolate(plain['x'], scale_factor=2, mode='nearest')
    expected = F.conv2d(upsampled, plain['weight'], plain['bias'], padding=1)
    expected = expected + F.interpolate(plain['residual'], scale_factor=2, mode='nearest')
    torch.testing.assert_close(result, expected)

    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    for name in shapes:
        torch.testing.assert_close(ours[name].grad, plain[name].grad)


def test_without_residual():
    x, weight, bias = torch.randn(1, 2, 3, 4), torch.randn(5, 2, 3, 3), torch.randn(5)
    expected = F.conv2d(F.interpolate(x, scale_factor=2), weight, bias, padding=1)
    torch.testing.assert_close(conv3x3_after_upsampling(x, weight, bias), expected)


def test_gradient_of_interleaving():
    shapes = [(2, 3, 2, 2), (2, 4, 2, 4), (2, 3, 3, 4), (2, 4, 3, 8)]
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(_Interleave.apply, parts)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_keeps_the_types_and_the_values(dtype):
    x, weight, bias = torch.randn(1, 8, 3, 4), torch.randn(8, 8, 3, 3), torch.randn(8)
    weight.requires_grad_()
    expected = conv3x3_after_upsampling(x, weight, bias, residual=x).detach()
    with torch.autocast('cpu', dtype=dtype):
        result = conv3x3_after_upsampling(x, weight, bias, residual=x)
    assert result.dtype == torch.float32
    tolerance = 30 * torch.finfo(dtype).eps * expected.abs().max()
    assert (result - expected).abs().max() < tolerance
    result.sum().backward()
    assert weight.grad.dtype == torch.float32
    assert weight.grad.isfinite().all()
