import pytest
import torch

from code_mm.ops import l2_normalize, region_similarity


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


def test_region_similarity_equals_loops():
    features = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    embed = torch.randn(6, 4, dtype=torch.float64)
    similarity = region_similarity(features, embed)
    assert similarity.shape == (2, 6, 3, 5)
    for b in range(2):
        for m in range(6):
            for y in range(3):
                for x in range(5):
                    expected = features[b, :, y, x] @ embed[m]
                    torch.testing.assert_close(similarity[b, m, y, x], expected)
