"""What all losses have in common: weight, precision, and two processes that train as one."""

import pytest
import torch
from tiny_model import Step

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


PAIRS = dict(region_embed=normal(6, 8), text_embed=normal(1, 6, 8)[0])
# masks of mean areas .1 and .6: a prior of .25 lies between the processes, their mean above it
MASKS = torch.cat((torch.full((2, 3, 3), 0.1), torch.full((2, 3, 3), 0.6)))
CASES = dict(
    area=(dict(type='AreaLoss', of='own_masks', prior=0.25), dict(own_masks=MASKS)),
    info_nce=(dict(type='InfoNCELoss', text='text_embed'), PAIRS),
    kg=(dict(type='KnowledgeGuidedLoss'), dict(nouns=normal(4, 8), guide=normal(1, 4, 8)[0])),
    kg_l2=(
        dict(type='KnowledgeGuidedLoss', mode='squared_l2'),
        dict(nouns=normal(4, 8), guide=normal(1, 4, 8)[0]),
    ),
    region=(dict(type='RegionInfoNCELoss'), dict(pooled=normal(6, 6, 8), nouns=normal(6, 8))),
    words=(dict(type='TextSegmentationLoss', none_weight=0.1), captions(1)),
    words_argmax=(dict(type='TextSegmentationLoss', pseudo_label='argmax'), captions(1)),
    words_of_one=(dict(type='TextSegmentationLoss'), captions(2)),
    variation=(dict(type='TotalVariationLoss', of='masks'), dict(masks=normal(4, 3, 5, 6))),
)


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


@pytest.mark.parametrize('case', CASES)
def test_two_processes_train_as_one(run_in_two_processes, case):
    loss, input_grads, parameter_grads = loss_and_gradients(*CASES[case])
    results = run_in_two_processes(loss_and_gradients, *CASES[case])
    losses, its_input_grads, its_parameter_grads = zip(*results, strict=True)
    torch.testing.assert_close(sum(losses) / 2, loss)
    for i, expected in enumerate(input_grads):
        # An input belongs to one process; averaging the parameter gradients halves its part.
        torch.testing.assert_close(torch.cat([g[i] for g in its_input_grads]) / 2, expected)
    for i, expected in enumerate(parameter_grads):
        torch.testing.assert_close(sum(g[i] for g in its_parameter_grads) / 2, expected)


@pytest.mark.parametrize('case', CASES)
def test_weight_scales_the_loss_and_all_its_gradients(case):
    config, values = CASES[case]
    once = loss_and_gradients(config, values)
    thrice = loss_and_gradients({**config, 'loss_weight': 3.0}, values)
    torch.testing.assert_close(thrice[0], 3 * once[0])
    for one, three in zip((*once[1], *once[2]), (*thrice[1], *thrice[2]), strict=True):
        torch.testing.assert_close(three, 3 * one)
    assert all(gradient.any() for gradient in once[2])  # a scale learns


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('case', CASES)
def test_half_precision_is_computed_in_single(case, dtype):
    config, values = CASES[case]
    half = {k: x.to(dtype) if x.is_floating_point() else x for k, x in values.items()}
    with torch.autocast('cpu', dtype=dtype):
        loss, gradients, _ = loss_and_gradients(config, half)
    single = {k: x.float() if x.is_floating_point() else x for k, x in half.items()}
    assert loss.dtype == torch.float32 and gradients[0].dtype == dtype
    # differences of neighbours are taken in half precision, their sum is not
    exact = dict(rtol=1e-3, atol=1e-3) if case == 'variation' else {}
    torch.testing.assert_close(loss, loss_and_gradients(config, single)[0], **exact)
