"""Golden case 5: total variation, area prior, masked pooling."""

from tiny_model import Step

from code_mm.models.losses import AreaLoss, TotalVariationLoss
from code_mm.ops import masked_pooling
from code_mm.ops.regions import POOLING_EPS

CASE = '05_regularisers'


def test_total_variation(golden):
    tensors = golden.tensors(CASE)
    x = tensors['tv.x'].requires_grad_()
    loss = TotalVariationLoss('x')(Step(x=x))
    loss.backward()
    golden.assert_close(loss, tensors['tv.loss'], CASE, what='tv.loss')
    golden.assert_close(x.grad, tensors['tv.grad_x'], CASE, what='tv.grad_x')


def test_area(golden):
    entry, tensors = golden.case(CASE), golden.tensors(CASE)
    for key in ('pos_prior', 'neg_prior'):
        prior = entry['constants'][key]
        mask = tensors['area.mask'].clone().requires_grad_()
        loss = AreaLoss('mask', prior)(Step(mask=mask))
        loss.backward()
        name = f'prior{prior:g}'
        golden.assert_close(loss, tensors[f'area.loss_{name}'], entry, what=name)
        if f'area.grad_{name}' in tensors:
            golden.assert_close(mask.grad, tensors[f'area.grad_{name}'], entry, what=name)


def test_masked_pooling(golden):
    entry, tensors = golden.case(CASE), golden.tensors(CASE)
    assert entry['constants']['pool_eps'] == POOLING_EPS
    feature, mask = (tensors[f'pool.{key}'].requires_grad_() for key in ('feature', 'mask'))
    pooled = masked_pooling(feature, mask)
    (pooled * tensors['pool.weights']).sum().backward()
    golden.assert_close(pooled, tensors['pool.out'], entry, what='pool.out')
    golden.assert_close(feature.grad, tensors['pool.grad_feature'], entry, what='grad_feature')
    golden.assert_close(mask.grad, tensors['pool.grad_mask'], entry, what='grad_mask')
