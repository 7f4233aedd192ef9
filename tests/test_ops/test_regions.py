"""What golden case 5 does not show: short vectors and half precision."""

import pytest
import torch

from code_mm.ops import l2_normalize, masked_pooling


def test_normalize_matches_definition_along_any_axis():
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    for dim in (-1, 1):
        expected = x / x.square().sum(dim, keepdim=True).sqrt()
        torch.testing.assert_close(l2_normalize(x, dim), expected)


def test_short_vectors_are_divided_by_eps_and_have_a_finite_gradient():
    x = torch.tensor([[0.0, 0.0], [3e-7, 4e-7]], requires_grad=True)
    out = l2_normalize(x)
    torch.testing.assert_close(out.detach(), torch.tensor([[0.0, 0.0], [0.3, 0.4]]))
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1e6))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_normalize_half_precision_does_not_overflow(dtype):
    x = torch.full((1, 4), 300.0, dtype=dtype)  # 300 ** 2 > the largest fp16
    out = l2_normalize(x)
    assert out.dtype == dtype
    assert out.tolist() == [[0.5] * 4]


def test_pooling_equals_loops():
    features = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    expected = torch.stack(
        [
            torch.stack([(image * mask).sum((1, 2)) / (mask.sum() + 1e-6) for mask in its_masks])
            for image, its_masks in zip(features, masks, strict=True)
        ]
    )
    pooled = masked_pooling(features, masks)
    torch.testing.assert_close(pooled, expected)
    weights = torch.randn(2, 6, 5, dtype=torch.float64)
    grads, slow_grads = (
        torch.autograd.grad((x * weights).sum(), (features, masks)) for x in (pooled, expected)
    )
    torch.testing.assert_close(grads, slow_grads)


def test_empty_mask_pools_to_zero():
    assert masked_pooling(torch.randn(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)).eq(0).all()


@pytest.mark.parametrize('dtype', [torch.float16])
def test_half_precision_counts_large_areas(dtype):
    # 70 000 pixels: an fp16 sum would be infinite and the result zero.
    features = torch.full((1, 2, 250, 280), 0.5, dtype=dtype)
    masks = torch.ones(1, 1, 250, 280, dtype=dtype)
    pooled = masked_pooling(features, masks)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), torch.full((1, 1, 2), 0.5), atol=2e-3, rtol=0)
