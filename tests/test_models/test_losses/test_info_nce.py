import math

import pytest
import torch

from code_mm.models.losses import InfoNCELoss, info_nce


def test_closed_form_of_orthogonal_pairs():
    loss = info_nce(torch.eye(4), torch.eye(4), 2.0)
    assert loss.item() == pytest.approx(math.log(1 + 3 * math.exp(-2)), rel=1e-5)


def test_rejects_embeddings_that_are_no_pairs():
    with pytest.raises(ValueError, match=r'one shape \[n, c\], but got \(3, 4\) and \(2, 4\)'):
        info_nce(torch.zeros(3, 4), torch.zeros(2, 4), 1.0)


@pytest.mark.parametrize(
    ('learnt', 'scale', 'learns'), [(2.0, math.exp(2), True), (5.2, 100, False)]
)
def test_the_scale_is_clamped_and_then_learns_nothing(learnt, scale, learns):
    loss = InfoNCELoss('nouns')
    assert loss.logit_scale.item() == pytest.approx(math.log(1 / 0.07), rel=1e-6)
    torch.nn.init.constant_(loss.logit_scale, learnt)
    loss.scale().backward()
    assert loss.scale().item() == pytest.approx(scale, rel=1e-5)
    assert bool(loss.logit_scale.grad) == (scale < 100)


@pytest.mark.parametrize('keys', [{'init_temperature': 0}, {'max_scale': -1}])
def test_rejects_scales_that_are_not_positive(keys):
    with pytest.raises(ValueError, match='expected init_temperature > 0 and max_scale > 0'):
        InfoNCELoss('nouns', **keys)
