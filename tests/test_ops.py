"""Operators: processes, half precision, the convolution after upsampling; others: test_models."""

import pytest
import torch
from torch_release import IS_OLD

from code_mm.ops import (
    gather,
    gumbel_sigmoid,
    l2_normalize,
    masked_pooling,
    mean_over_processes,
    rank,
    world_size,
)
from code_mm.ops.upsampling_convolution import (
    conv3x3_after_upsampling,
    conv3x3_after_upsampling_reference,
)

HALF = pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])


def _gather_and_average(parts, weights, dtype):
    """Every process weighs the gathered rows its own way; the gradients must add up."""
    x = parts[rank()].to(dtype).t().contiguous().t().requires_grad_()  # not contiguous
    gathered = gather(x)
    (gathered * weights[rank()].to(dtype)).sum().backward()
    numbers = gather(torch.arange(3) + 10 * rank())
    y = parts[rank()].clone().requires_grad_()
    mean = mean_over_processes(y)
    (mean**2).sum().backward()
    return rank(), world_size(), gathered.detach(), x.grad, numbers, mean.detach(), y.grad


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_gather_and_mean_in_two_processes_and_in_one(run_in_two_processes, dtype):
    if dtype == torch.bfloat16 and IS_OLD:
        pytest.skip('gloo of torch 2.1 does not know bfloat16')
    torch.manual_seed(0)
    parts = torch.randint(-4, 5, (2, 3, 4)).float()
    weights = torch.randint(-4, 5, (2, 6, 4)).float()
    results = run_in_two_processes(_gather_and_average, parts, weights, dtype)
    for r, (its_rank, size, gathered, grad, numbers, mean, grad_of_mean) in enumerate(results):
        assert (its_rank, size) == (r, 2)
        assert torch.equal(gathered.float(), parts.flatten(0, 1))
        assert torch.equal(grad.float(), weights.sum(0)[3 * r : 3 * r + 3])
        assert numbers.tolist() == [0, 1, 2, 10, 11, 12]
        torch.testing.assert_close(mean, parts.mean(0))
        # Sum over both processes of d(mean^2)/dx = 2 * (2 mean * 1/2).
        torch.testing.assert_close(grad_of_mean, 2 * parts.mean(0))
    assert (rank(), world_size()) == (0, 1)
    assert gather(parts) is parts and mean_over_processes(parts) is parts


def test_short_vectors_are_divided_by_eps_and_have_a_finite_gradient():
    x = torch.tensor([[0.0, 0.0], [3e-7, 4e-7]], requires_grad=True)
    out = l2_normalize(x)
    torch.testing.assert_close(out.detach(), torch.tensor([[0.0, 0.0], [0.3, 0.4]]))
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1e6))
    assert masked_pooling(torch.randn(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)).eq(0).all()


@HALF
def test_half_precision_does_not_overflow_and_masks_are_binary(dtype):
    out = l2_normalize(torch.full((1, 4), 300.0, dtype=dtype))  # 300 ** 2 > the largest fp16
    assert out.dtype == dtype and out.tolist() == [[0.5] * 4]
    # 70 000 pixels: an fp16 sum would be infinite and the result zero.
    features = torch.full((1, 2, 250, 280), 0.5, dtype=dtype)
    pooled = masked_pooling(features, torch.ones(1, 1, 250, 280, dtype=dtype))
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), torch.full((1, 1, 2), 0.5), atol=8e-3, rtol=0)
    logits = torch.tensor([-60.0, -0.4, 0.0, 0.4, 60.0], dtype=dtype, requires_grad=True)
    mask = gumbel_sigmoid(logits, noise=torch.tensor([0, 0.0005, 0.9999, 1, 1], dtype=dtype))
    mask.sum().backward()
    assert mask.dtype == dtype and mask.tolist() == [0, 0, 1, 1, 1]
    assert logits.grad.isfinite().all()


def test_gumbel_sigmoid_rejects_bad_arguments():
    with pytest.raises(ValueError, match='expected tau > 0, but got 0'):
        gumbel_sigmoid(torch.zeros(2), torch.zeros(2), tau=0)
    with pytest.raises(ValueError, match=r'shape \(2,\).*but got \(3,\)'):
        gumbel_sigmoid(torch.zeros(2), noise=torch.rand(3))


def convolution_arguments(b, c, o, h, w, dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = [(b, c, h, w), (o, c, 3, 3), (o,), (b, o, h, w)]
    return [torch.randn(s, generator=generator, dtype=dtype, requires_grad=True) for s in shapes]


def value_and_gradients(function, inputs):
    result = function(*inputs)
    weights = torch.linspace(-1, 2, result.numel(), dtype=torch.float64).view(result.shape)
    return result, *torch.autograd.grad((result * weights).sum(), inputs)


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (7, 4)])
def test_convolution_after_upsampling_equals_the_plain_form(size):
    inputs = convolution_arguments(2, 4, 6, *size, torch.float64)
    torch.testing.assert_close(
        value_and_gradients(conv3x3_after_upsampling, inputs),
        value_and_gradients(conv3x3_after_upsampling_reference, inputs),
    )


@HALF
def test_convolution_after_upsampling_in_mixed_precision(dtype):
    """Types are those of the plain form; values lie within the rounding of a few products."""
    inputs = convolution_arguments(1, 8, 8, 3, 4, torch.float32)
    expected = value_and_gradients(conv3x3_after_upsampling_reference, inputs)
    with torch.autocast('cpu', dtype=dtype):
        found = value_and_gradients(conv3x3_after_upsampling, inputs)
        assert found[0].dtype == conv3x3_after_upsampling_reference(*inputs).dtype
    assert {grad.dtype for grad in found[1:]} == {torch.float32}
    for wide, narrow in zip(expected, found, strict=True):
        assert (narrow - wide).abs().max() < 30 * torch.finfo(dtype).eps * wide.abs().max()
