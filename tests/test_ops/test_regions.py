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


def slow_pooling(features, masks, eps=1e-6):
    b, c = features.shape[:2]
    n, m = masks.shape[:2]
    out = features.new_zeros(n, m, c)
    for row in range(n):
        for j in range(m):
            area = masks[row, j].sum() + eps
            for channel in range(c):
                out[row, j, channel] = (features[row % b, channel] * masks[row, j]).sum() / area
    return out


@pytest.mark.parametrize('k', [1, 3])
def test_equals_loops_with_noun_slots_outermost(k):
    features = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(k * 2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(k * 2, 6, 5, dtype=torch.float64)
    pooled = masked_pooling(features, masks)
    expected = slow_pooling(features, masks)
    torch.testing.assert_close(pooled, expected)
    grads = torch.autograd.grad((pooled * weights).sum(), (features, masks))
    slow_grads = torch.autograd.grad((expected * weights).sum(), (features, masks))
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


@pytest.mark.parametrize('masks', [(3, 1, 4, 4), (2, 1, 4, 5)])
def test_rejects_masks_of_other_images_or_grids(masks):
    with pytest.raises(ValueError, match=r'expected masks \[k \* 2, m, 4, 4\]'):
        masked_pooling(torch.zeros(2, 3, 4, 4), torch.zeros(masks))
