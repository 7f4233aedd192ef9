"""Golden cases 1 to 5: PAMR, Gumbel-sigmoid, contrastive losses, regularisers, pooling."""

import math
import re

import pytest
import torch
from tiny_model import Step

from code_mm.models.losses import AreaLoss, InfoNCELoss, RegionInfoNCELoss, TotalVariationLoss
from code_mm.models.post_processing import PAMR
from code_mm.ops import gumbel_sigmoid, masked_pooling, rank
from code_mm.ops.regions import NORMALIZE_EPS, POOLING_EPS


def test_pamr(golden):
    """On the image's grid; with its defaults on that of the masks, as in prediction."""
    entry, tensors = golden.case('01_pamr'), golden.tensors('01_pamr')
    for name, arguments in entry['arguments'].items():
        pamr = PAMR(arguments['iters'], arguments['dilations'], grid='image')
        for mask, out in (('mask', 'out'), ('mask_samesize', 'out_samesize')):
            refined = pamr(tensors['image'], tensors[mask])
            golden.assert_close(refined, tensors[f'{name}.{out}'], entry, what=f'{name}.{out}')
    refined = PAMR()(tensors['image'], tensors['mask'])
    golden.assert_close(refined, tensors['apply_on_mask_grid'], entry, what='mask grid')


def test_gumbel_sigmoid(golden):
    entry, tensors = golden.case('02_gumbel_sigmoid'), golden.tensors('02_gumbel_sigmoid')
    for tau in entry['arguments']['tau']:
        for hard in entry['arguments']['hard']:
            name = f'tau{tau}.{"hard" if hard else "soft"}'
            logits = tensors['logits'].clone().requires_grad_()
            out = gumbel_sigmoid(logits, tensors['uniform_noise'], tau, hard)
            (out * tensors['weights']).sum().backward()
            golden.assert_close(out, tensors[f'{name}.out'], entry, what=f'{name}.out')
            golden.assert_close(logits.grad, tensors[f'{name}.grad_logits'], entry, what=name)


CONTRASTIVE = {'infonce': lambda: InfoNCELoss('nouns'), 'ext_infonce': RegionInfoNCELoss}


def loss_and_gradients(kind, inputs):
    """Of a contrastive loss on the golden inputs of every process."""
    own = inputs[rank()]
    module = CONTRASTIVE[kind]()
    module.logit_scale.data.copy_(own['logit_scale'])
    image, text = (own[key].clone().requires_grad_() for key in ('image_emb', 'text_emb'))
    loss = module(Step(region_embed=image, pooled=image, nouns=text))
    loss.backward()
    grads = {'image_emb': image, 'text_emb': text, 'logit_scale': module.logit_scale}
    return loss.detach(), {f'grad_{key}': leaf.grad for key, leaf in grads.items()}


def assert_contrastive(golden, case, found, expected, what):
    (loss, grads), limits = found, golden.case(case)
    for key, value in dict(loss=loss, **grads).items():
        golden.assert_close(value, expected[key], limits, what=f'{what} {key}')


@pytest.mark.parametrize('kind', CONTRASTIVE)
def test_contrastive_losses(golden, kind):
    case, tensors = '03_contrastive', golden.tensors('03_contrastive')
    names = sorted({key.rsplit('.', 1)[0] for key in tensors if key.startswith(f'{kind}.')})
    assert names
    for name in names:
        expected = golden.tensors(case, f'{name}.')
        assert_contrastive(golden, case, loss_and_gradients(kind, [expected]), expected, name)
    constants, module = golden.case(case)['constants'], CONTRASTIVE[kind]()
    temperature = re.search(r'log\(1/([0-9.]+)\)', constants['initial_logit_scale']).group(1)
    assert module.logit_scale.item() == pytest.approx(-math.log(float(temperature)), rel=1e-6)
    assert module.max_scale == float(re.search(r'<= ([0-9.]+)', constants['clamp']).group(1))
    assert constants['l2_normalise_eps'] == NORMALIZE_EPS


@pytest.mark.parametrize('kind', CONTRASTIVE)
def test_contrastive_losses_in_two_processes(golden, run_in_two_processes, kind):
    """The release compares texts of regions with wrong columns; its index has what was intended.

    Gradients of the intended form: ``test_two_processes_equal_one_with_the_joined_batch``.
    """
    case = '04_contrastive_2proc'
    expected = [golden.tensors(case, f'rank{r}.{kind}.') for r in range(2)]
    found = run_in_two_processes(loss_and_gradients, kind, expected)
    intended = golden.case(case)['self_check'].get(
        f'{kind}_loss_if_text_side_used_the_right_column_block'
    )
    if intended:
        losses = torch.stack([loss for loss, _ in found])
        golden.assert_close(losses, torch.tensor(intended), case, what='losses')
    else:
        for r in range(2):
            assert_contrastive(golden, case, found[r], expected[r], f'rank {r}')


def test_regularisers(golden):
    entry, tensors = golden.case('05_regularisers'), golden.tensors('05_regularisers')
    cases = [('tv.x', 'tv.loss', 'tv.grad_x', TotalVariationLoss('x'))]
    for key in ('pos_prior', 'neg_prior'):
        prior = entry['constants'][key]
        names = f'area.loss_prior{prior:g}', f'area.grad_prior{prior:g}'
        cases.append(('area.mask', *names, AreaLoss('x', prior)))
    for leaf, name, grad, module in cases:
        x = tensors[leaf].clone().requires_grad_()
        loss = module(Step(x=x))
        loss.backward()
        golden.assert_close(loss, tensors[name], entry, what=name)
        if grad in tensors:
            golden.assert_close(x.grad, tensors[grad], entry, what=grad)


def test_masked_pooling(golden):
    entry, tensors = golden.case('05_regularisers'), golden.tensors('05_regularisers')
    assert entry['constants']['pool_eps'] == POOLING_EPS
    feature, mask = (tensors[f'pool.{key}'].requires_grad_() for key in ('feature', 'mask'))
    pooled = masked_pooling(feature, mask)
    (pooled * tensors['pool.weights']).sum().backward()
    golden.assert_close(pooled, tensors['pool.out'], entry, what='pool.out')
    golden.assert_close(feature.grad, tensors['pool.grad_feature'], entry, what='grad_feature')
    golden.assert_close(mask.grad, tensors['pool.grad_mask'], entry, what='grad_mask')
