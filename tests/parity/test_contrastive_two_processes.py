"""Golden case 4: the contrastive losses in a process group.

The release's extended loss compares texts with wrong columns when there is more
than one process; for it the intended losses, which the index lists, are the aim.
"""

import re

import pytest
import torch
import torch.nn.functional as F
from tiny_model import Step

from code_mm.models.losses import InfoNCELoss, RegionInfoNCELoss
from code_mm.ops import rank

CASE = '04_contrastive_2proc'


def _loss_and_gradients(kind, inputs):
    own = inputs[rank()]
    module = InfoNCELoss('nouns') if kind == 'infonce' else RegionInfoNCELoss()
    module.logit_scale.data.copy_(own['logit_scale'])
    image, text = (own[key].clone().requires_grad_() for key in ('image_emb', 'text_emb'))
    loss = module(Step(region_embed=image, pooled=image, nouns=text))
    loss.backward()
    grads = {'image_emb': image, 'text_emb': text, 'logit_scale': module.logit_scale}
    return loss.detach(), {key: leaf.grad for key, leaf in grads.items()}


@pytest.fixture(scope='module')
def results(golden, run_in_two_processes):
    """`kind` -> (per-rank golden tensors, per-rank (loss, gradients) of ours)."""
    tensors = golden.tensors(CASE)
    world_size = 1 + max(int(re.match(r'rank(\d+)\.', key).group(1)) for key in tensors)
    results = {}
    for kind in ('infonce', 'ext_infonce'):
        expected = [
            {
                key.removeprefix(f'rank{r}.{kind}.'): value
                for key, value in tensors.items()
                if key.startswith(f'rank{r}.{kind}.')
            }
            for r in range(world_size)
        ]
        ours = run_in_two_processes(_loss_and_gradients, kind, expected, world_size=world_size)
        results[kind] = expected, ours
    return results


def test_info_nce(golden, results):
    for r, (expected, (loss, grads)) in enumerate(zip(*results['infonce'], strict=True)):
        golden.assert_close(loss, expected['loss'], CASE, what=f'rank {r} loss')
        for key, grad in grads.items():
            golden.assert_close(grad, expected[f'grad_{key}'], CASE, what=f'rank {r} grad_{key}')


def test_region_info_nce_has_the_intended_losses(golden, results):
    intended = golden.case(CASE)['self_check'][
        'ext_infonce_loss_if_text_side_used_the_right_column_block'
    ]
    losses = [loss for loss, _ in results['ext_infonce'][1]]
    golden.assert_close(torch.stack(losses), torch.tensor(intended), CASE, what='losses')


def test_region_info_nce_has_the_gradients_of_the_joined_batch(golden, results):
    inputs, ours = results['ext_infonce']
    image, text = (
        torch.cat([x[key] for x in inputs]).requires_grad_() for key in ('image_emb', 'text_emb')
    )
    scale = inputs[0]['logit_scale'].clone().requires_grad_()
    factor = scale.exp().clamp(max=RegionInfoNCELoss().max_scale)
    logits = factor * (F.normalize(image, dim=-1) * F.normalize(text, dim=-1)).sum(-1)
    labels = torch.arange(len(logits))
    loss = 0.5 * (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels))
    # What a gather leaves on a process is the gradient of the sum of all processes' losses.
    (len(ours) * loss).backward()
    for key, leaf in (('image_emb', image), ('text_emb', text)):
        grad = torch.cat([grads[key] for _, grads in ours])
        golden.assert_close(grad, leaf.grad, CASE, what=f'grad_{key}')
    grad = sum(grads['logit_scale'] for _, grads in ours)
    golden.assert_close(grad, scale.grad, CASE, what='grad_logit_scale')
