"""Golden case 3: the contrastive losses in one process."""

import math
import re

import pytest
from tiny_model import Step

from code_mm.models.losses import InfoNCELoss, RegionInfoNCELoss
from code_mm.ops.regions import NORMALIZE_EPS

CASE = '03_contrastive'
LOSSES = {'infonce': lambda: InfoNCELoss('nouns'), 'ext_infonce': RegionInfoNCELoss}


@pytest.mark.parametrize('kind', LOSSES)
def test_loss_and_gradients(golden, kind):
    tensors = golden.tensors(CASE)
    names = sorted({key.rsplit('.', 1)[0] for key in tensors if key.startswith(f'{kind}.')})
    assert names
    for name in names:
        module = LOSSES[kind]()
        module.logit_scale.data.copy_(tensors[f'{name}.logit_scale'])
        image = tensors[f'{name}.image_emb'].requires_grad_()
        text = tensors[f'{name}.text_emb'].requires_grad_()
        loss = module(Step(region_embed=image, pooled=image, nouns=text))
        loss.backward()
        golden.assert_close(loss, tensors[f'{name}.loss'], CASE, what=f'{name}.loss')
        grads = {'image_emb': image, 'text_emb': text, 'logit_scale': module.logit_scale}
        for key, leaf in grads.items():
            what = f'{name}.grad_{key}'
            golden.assert_close(leaf.grad, tensors[what], CASE, what=what)


def test_constants(golden):
    constants = golden.case(CASE)['constants']
    temperature, clamp = (
        float(re.search(pattern, constants[key]).group(1))
        for key, pattern in (
            ('initial_logit_scale', r'log\(1/([0-9.]+)\)'),
            ('clamp', r'<= ([0-9.]+)'),
        )
    )
    for build in LOSSES.values():
        module = build()
        assert module.logit_scale.item() == pytest.approx(math.log(1 / temperature), rel=1e-6)
        assert module.max_scale == clamp
    assert constants['l2_normalise_eps'] == NORMALIZE_EPS
