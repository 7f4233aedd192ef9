import math

import pytest
import torch

from code_mm.models.losses import InfoNCELoss, info_nce


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
