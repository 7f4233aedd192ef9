"""Golden cases 1 to 5: PAMR, Gumbel-sigmoid, contrastive losses, regularisers, pooling."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
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


def below(tensors, prefix):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


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
        expected = below(tensors, f'{name}.')
        assert_contrastive(golden, case, loss_and_gradients(kind, [expected]), expected, name)
    constants, module = golden.case(case)['constants'], CONTRASTIVE[kind]()
    temperature = re.search(r'log\(1/([0-9.]+)\)', constants['initial_logit_scale']).group(1)
    assert module.logit_scale.item() == pytest.approx(-math.log(float(temperature)), rel=1e-6)
    assert module.max_scale == float(re.search(r'<= ([0-9.]+)', constants['clamp']).group(1))
    assert constants['l2_normalise_eps'] == NORMALIZE_EPS


@pytest.fixture
def in_processes(golden, run_in_two_processes):
    """``in_processes(kind)`` -> per-rank golden tensors, per-rank (loss, gradients) of ours."""
    tensors = golden.tensors('04_contrastive_2proc')
    world_size = 1 + max(int(re.match(r'rank(\d+)\.', key).group(1)) for key in tensors)

    def results(kind):
        expected = [below(tensors, f'rank{r}.{kind}.') for r in range(world_size)]
        ours = run_in_two_processes(loss_and_gradients, kind, expected, world_size=world_size)
        return expected, ours

    return results


def test_info_nce_in_processes(golden, in_processes):
    for r, (expected, found) in enumerate(zip(*in_processes('infonce'), strict=True)):
        assert_contrastive(golden, '04_contrastive_2proc', found, expected, f'rank {r}')


def test_region_info_nce_in_processes(golden, in_processes):
    """The intended losses, and the gradients of the joined batch.

    The release compares texts with wrong columns when there is more than one process; its index
    lists what was intended.
    """
    case = '04_contrastive_2proc'
    inputs, ours = in_processes('ext_infonce')
    intended = golden.case(case)['self_check'][
        'ext_infonce_loss_if_text_side_used_the_right_column_block'
    ]
    losses = torch.stack([loss for loss, _ in ours])
    golden.assert_close(losses, torch.tensor(intended), case, what='losses')

    image, text = (
        torch.cat([x[key] for x in inputs]).requires_grad_() for key in ('image_emb', 'text_emb')
    )
    scale = inputs[0]['logit_scale'].clone().requires_grad_()
    factor = scale.exp().clamp(max=RegionInfoNCELoss.max_scale)
    logits = factor * (F.normalize(image, dim=-1) * F.normalize(text, dim=-1)).sum(-1)
    labels = torch.arange(len(logits))
    loss = 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))
    # What a gather leaves on a process is the gradient of the sum of all processes' losses.
    (len(ours) * loss).backward()
    for key, leaf in (('grad_image_emb', image), ('grad_text_emb', text)):
        grad = torch.cat([grads[key] for _, grads in ours])
        golden.assert_close(grad, leaf.grad, case, what=key)
    grad = sum(grads['grad_logit_scale'] for _, grads in ours)
    golden.assert_close(grad, scale.grad, case, what='grad_logit_scale')


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
