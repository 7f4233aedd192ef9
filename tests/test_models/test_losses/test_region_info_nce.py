import math

import pytest
import torch

from code_mm.models.losses import info_nce, region_info_nce


def test_equals_sums():
    n = 4
    region, text = torch.randn(n, n, 6, dtype=torch.float64), torch.randn(n, 6, dtype=torch.float64)
    s = [
        [5 * float(torch.cosine_similarity(region[i, j], text[j], dim=0)) for j in range(n)]
        for i in range(n)
    ]
    expected = 0
    for i in range(n):
        expected -= s[i][i] - math.log(sum(math.exp(s[i][j]) for j in range(n)))
        expected -= s[i][i] - math.log(sum(math.exp(s[j][i]) for j in range(n)))
    assert region_info_nce(region, text, 5.0).item() == pytest.approx(expected / (2 * n), rel=1e-6)


def test_is_plain_info_nce_where_regions_do_not_depend_on_the_text():
    image, text = torch.randn(2, 5, 8)
    region = image[:, None].expand(5, 5, 8)
    torch.testing.assert_close(region_info_nce(region, text, 7.0), info_nce(image, text, 7.0))


def test_rejects_a_missing_column():
    with pytest.raises(ValueError, match=r'shape \(3, 3, 8\).*but got \(3, 2, 8\)'):
        region_info_nce(torch.zeros(3, 2, 8), torch.zeros(3, 8), 1.0)
