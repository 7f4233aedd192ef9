"""Every loss: its value by plain formulas, weight, precision, two processes that train as one."""

import math
from functools import partial

import pytest
import torch
from tiny_model import Step

from code_mm.models.losses import (
    InfoNCELoss,
    area_loss,
    info_nce,
    knowledge_guided_loss,
    region_info_nce,
    text_segmentation_loss,
    total_variation,
)
from code_mm.ops import rank, world_size
from code_mm.registry import MODELS


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def captions(unlabelled):
    """Logits and labels of four captions; the halves of the batch have unlike numbers of labels."""
    labels = torch.randint(-1, 3, (4, 10), generator=torch.Generator().manual_seed(0))
    labels[:unlabelled] = -1
    labels[2, 3:] = -1
    words = torch.ones(4, 10, dtype=torch.bool)
    words[:, 0] = words[:, 8:] = False
    return dict(word_logits=normal(4, 3, 10), token_labels=labels, word_positions=words)


def area(own_masks):
    return abs(own_masks.mean() - 0.25)


def contrast(cosines):
    """Each image against all texts and each text against all images, at temperature 0.07."""
    logits = cosines / 0.07
    return (logits.logsumexp(0) + logits.logsumexp(1)).mean() / 2 - logits.diagonal().mean()


def pairs(region_embed, text_embed):
    return contrast(torch.cosine_similarity(region_embed[:, None], text_embed[None], dim=2))


def regions(pooled, nouns):
    return contrast(torch.cosine_similarity(pooled, nouns[None], dim=2))


def guided(nouns, guide):
    return sum(1 - torch.cosine_similarity(*p, dim=0) for p in zip(nouns, guide, strict=True)) / 4


def guided_squared(nouns, guide):
    """Thesis Eq. 3.1: unit vectors at distance d have a cosine of 1 - d² / 2."""
    return 2 * guided(nouns, guide)


def words(word_logits, token_labels, word_positions, none_weight=0.5):
    total = weights = 0.0
    for i, position in word_positions.nonzero().tolist():
        label, logits = int(token_labels[i, position]), word_logits[i, :, position].tolist()
        if label >= 0:
            weight = none_weight if label == 0 else 1.0
            total += weight * (math.log(sum(map(math.exp, logits))) - logits[label])
            weights += weight
    return torch.tensor(total / weights)


def words_argmax(word_logits, token_labels, word_positions):
    return words(word_logits, word_logits.argmax(1), word_positions)


def variation(masks):
    rows = [abs(masks[..., i + 1, :] - masks[..., i, :]).mean() for i in range(4)]
    columns = [abs(masks[..., j + 1] - masks[..., j]).mean() for j in range(5)]
    return sum(rows) / 4 + sum(columns) / 5


EMBEDDINGS = dict(region_embed=normal(6, 8), text_embed=normal(1, 6, 8)[0])
GUIDES = dict(nouns=normal(4, 8), guide=normal(1, 4, 8)[0])
# masks of mean areas .1 and .6: a prior of .25 lies between the processes, their mean above it
MASKS = torch.cat((torch.full((2, 3, 3), 0.1), torch.full((2, 3, 3), 0.6)))


def case(kind, values, plain, **keys):
    return dict(type=kind, **keys), values, plain


WORDS = 'TextSegmentationLoss'
REGIONS = dict(pooled=normal(6, 6, 8), nouns=normal(6, 8))
CASES = dict(
    area=case('AreaLoss', dict(own_masks=MASKS), area, of='own_masks', prior=0.25),
    info_nce=case('InfoNCELoss', EMBEDDINGS, pairs, text='text_embed'),
    kg=case('KnowledgeGuidedLoss', GUIDES, guided),
    kg_l2=case('KnowledgeGuidedLoss', GUIDES, guided_squared, mode='squared_l2'),
    region=case('RegionInfoNCELoss', REGIONS, regions),
    words=case(WORDS, captions(1), words),
    words_argmax=case(WORDS, captions(1), words_argmax, pseudo_label='argmax'),
    words_of_one=case(WORDS, captions(2), partial(words, none_weight=0.1), none_weight=0.1),
    variation=case('TotalVariationLoss', dict(masks=normal(4, 3, 5, 6)), variation, of='masks'),
)
each_case = pytest.mark.parametrize('case', CASES)


def loss_and_gradients(config, values):
    """Loss and gradients of a loss on this process' share (rows) of the values of a step."""
    module = MODELS.build(config)
    shares = {name: x.chunk(world_size())[rank()].clone() for name, x in values.items()}
    leaves = [x.requires_grad_() for x in shares.values() if x.is_floating_point()]
    step = Step(**shares)
    step.captions = step
    loss = module(step)
    loss.backward()
    input_grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
    return loss.detach(), input_grads, [p.grad for p in module.parameters()]


@each_case
def test_value_and_weight(case):
    config, values, plain = CASES[case]
    once = loss_and_gradients(config, values)
    torch.testing.assert_close(once[0], plain(**values))
    thrice = loss_and_gradients({**config, 'loss_weight': 3.0}, values)
    torch.testing.assert_close(thrice[0], 3 * once[0])
    for one, three in zip((*once[1], *once[2]), (*thrice[1], *thrice[2]), strict=True):
        torch.testing.assert_close(three, 3 * one)
    assert all(gradient.any() for gradient in once[2])  # a scale learns
    if 'guide' in values:
        assert once[1][0].any() and not once[1][1].any()


@each_case
def test_two_processes_train_as_one(run_in_two_processes, case):
    config, values, _ = CASES[case]
    loss, input_grads, parameter_grads = loss_and_gradients(config, values)
    results = run_in_two_processes(loss_and_gradients, config, values)
    losses, its_input_grads, its_parameter_grads = zip(*results, strict=True)
    torch.testing.assert_close(sum(losses) / 2, loss)
    for i, expected in enumerate(input_grads):
        # An input belongs to one process; averaging the parameter gradients halves its part.
        torch.testing.assert_close(torch.cat([g[i] for g in its_input_grads]) / 2, expected)
    for i, expected in enumerate(parameter_grads):
        torch.testing.assert_close(sum(g[i] for g in its_parameter_grads) / 2, expected)


@pytest.mark.parametrize('case', ['area', 'words'])
def test_without_sync_each_process_counts_alone(run_in_two_processes, case):
    config, values, plain = CASES[case]
    results = run_in_two_processes(loss_and_gradients, {**config, 'sync': False}, values)
    for r, (loss, _, _) in enumerate(results):
        expected = plain(**{name: x.chunk(2)[r] for name, x in values.items()})
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@each_case
def test_half_precision_is_computed_in_single(case, dtype):
    config, values, _ = CASES[case]
    half = {k: x.to(dtype) if x.is_floating_point() else x for k, x in values.items()}
    with torch.autocast('cpu', dtype=dtype):
        loss, gradients, _ = loss_and_gradients(config, half)
    single = {k: x.float() if x.is_floating_point() else x for k, x in half.items()}
    assert loss.dtype == torch.float32 and gradients[0].dtype == dtype
    # differences of neighbours are taken in half precision, their sum is not
    exact = dict(rtol=1e-3, atol=1e-3) if case == 'variation' else {}
    torch.testing.assert_close(loss, loss_and_gradients(config, single)[0], **exact)


def test_sums_of_many_pixels_do_not_overflow():
    x = torch.zeros(10, 400, 400, dtype=torch.float16)
    x[..., ::2] = 1  # more ones than fp16 counts
    assert total_variation(x).item() == pytest.approx(1)
    assert area_loss(x, 0.0).item() == pytest.approx(0.5)


def test_nothing_to_average_costs_nothing_and_has_a_graph():
    leaves = [torch.randn(*shape, requires_grad=True) for shape in ((2, 3, 5), (0, 4, 4))]
    losses = text_segmentation_loss(leaves[0], torch.full((2, 5), -1)), area_loss(leaves[1], 0.3)
    for loss, leaf in zip(losses, leaves, strict=True):
        loss.backward()
        assert loss.item() == 0 and not leaf.grad.any()
    assert total_variation(torch.ones(2, 1, 1)).item() == 0  # an axis of one pixel


@pytest.mark.parametrize(
    ('learnt', 'scale', 'learns'), [(2.0, math.exp(2), True), (5.2, 100, False)]
)
def test_the_scale_is_clamped_and_then_learns_nothing(learnt, scale, learns):
    loss = InfoNCELoss('nouns')
    torch.nn.init.constant_(loss.logit_scale, learnt)
    loss.scale().backward()
    assert loss.scale().item() == pytest.approx(scale, rel=1e-5)
    assert bool(loss.logit_scale.grad) == learns


ZEROS = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ('mistake', 'match'),
    [
        (dict(type='AreaLoss', of='own_masks', prior=25), r'prior in \[0, 1\].*but got 25'),
        (dict(type='KnowledgeGuidedLoss', mode='l2'), r"one of .*'squared_l2'.*but got 'l2'"),
        (dict(type='TextSegmentationLoss', pseudo_label='nouns'), r"one of .*'argmax'.*'nouns'"),
        (lambda: knowledge_guided_loss(ZEROS[:1], ZEROS), r'got \(1, 2\) and \(3, 2\)'),
        (lambda: info_nce(ZEROS, ZEROS[:2], 1.0), r'shape \[n, c\], but got \(3, 2\) and \(2, 2'),
        (lambda: region_info_nce(ZEROS.expand(3, 3, 2)[:, 1:], ZEROS, 1.0), r'got \(3, 2, 2\)'),
        (lambda: text_segmentation_loss(ZEROS[None], ZEROS), r'labels \[b, l\], but got \(1, 3, 2'),
    ],
)
def test_mistakes(mistake, match):
    with pytest.raises(ValueError, match=match):
        MODELS.build(mistake) if isinstance(mistake, dict) else mistake()
