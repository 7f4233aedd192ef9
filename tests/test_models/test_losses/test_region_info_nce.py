import math

import pytest
import torch

from code_mm.models.losses import info_nce, region_info_nce
from code_mm.registry import MODELS


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


def test_two_processes(assert_two_processes_equal_one):
    region, text = torch.randn(6, 6, 8), torch.randn(6, 8)
    assert_two_processes_equal_one(dict(type='RegionInfoNCELoss', loss_weight=0.1), region, text)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_similarities_are_not_rounded_under_autocast(dtype):
    region, text = torch.randn(4, 4, 16).to(dtype).float(), torch.randn(4, 16).to(dtype).float()
    module = MODELS.build(dict(type='RegionInfoNCELoss', init_temperature=0.01))
    with torch.autocast('cpu', dtype=dtype):
        loss = module(region.to(dtype), text.to(dtype))
    torch.testing.assert_close(loss, region_info_nce(region, text, 100.0))


def test_module_weighs_the_loss_and_learns_the_scale():
    region, text = torch.randn(3, 3, 8), torch.randn(3, 8)
    module = MODELS.build(dict(type='RegionInfoNCELoss', loss_weight=0.1, init_temperature=0.5))
    loss = module(region, text)
    torch.testing.assert_close(loss, 0.1 * region_info_nce(region, text, 2.0))
    loss.backward()
    assert module.logit_scale.grad.abs() > 0


def test_rejects_a_missing_column():
    with pytest.raises(ValueError, match=r'shape \(3, 3, 8\).*but got \(3, 2, 8\)'):
        region_info_nce(torch.zeros(3, 2, 8), torch.zeros(3, 8), 1.0)
