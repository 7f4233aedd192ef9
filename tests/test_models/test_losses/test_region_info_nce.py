import pytest
import torch

from code_mm.models.losses import info_nce, region_info_nce


def test_is_plain_info_nce_where_regions_do_not_depend_on_the_text():
    image, text = torch.randn(2, 5, 8)
    region = image[:, None].expand(5, 5, 8)
    torch.testing.assert_close(region_info_nce(region, text, 7.0), info_nce(image, text, 7.0))


def test_rejects_a_missing_column():
    with pytest.raises(ValueError, match=r'shape \(3, 3, 8\).*but got \(3, 2, 8\)'):
        region_info_nce(torch.zeros(3, 2, 8), torch.zeros(3, 8), 1.0)
