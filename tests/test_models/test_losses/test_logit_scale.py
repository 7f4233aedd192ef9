import math

import pytest
import torch

from code_mm.models.losses.info_nce import LogitScale


def test_starts_at_the_inverse_temperature():
    scale = LogitScale(init_temperature=0.07)
    assert scale.logit_scale.item() == pytest.approx(math.log(1 / 0.07), rel=1e-6)
    assert scale.scale().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_clamp_stops_the_gradient():
    scale = LogitScale()
    torch.nn.init.constant_(scale.logit_scale, 5.2)
    scale.scale().backward()
    assert scale.scale().item() == 100
    assert scale.logit_scale.grad.item() == 0


@pytest.mark.parametrize('keys', [{'init_temperature': 0}, {'max_scale': -1}])
def test_rejects_numbers_that_are_not_positive(keys):
    with pytest.raises(ValueError, match='expected init_temperature > 0 and max_scale > 0'):
        LogitScale(**keys)
