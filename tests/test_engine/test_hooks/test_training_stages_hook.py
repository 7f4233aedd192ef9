import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from code_mm.engine.hooks import TrainingStagesHook
from code_mm.registry import HOOKS

STAGES = [
    dict(begin=0, freeze=['block.*'], loss_weights=dict(region_word=0.0)),
    dict(begin=3, freeze=[]),
    dict(begin=5, freeze=['*.bias'], loss_weights=dict(region_word=2.0)),
]


class Loss(nn.Module):
    def __init__(self, loss_weight):
        super().__init__()
        self.loss_weight = loss_weight


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.clip = nn.Linear(2, 2).requires_grad_(False)
        self.block = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)
        self.losses = nn.ModuleDict(
            dict(region_word=Loss(0.5), area=Loss(1.0), plain=nn.Identity())
        )

    def forward(self, x):
        return self.head(self.block(self.clip(x)))


def runner(model, iteration=0):
    return SimpleNamespace(model=model, iter=iteration, logger=logging.getLogger('test'))


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


BLOCK = {'block.weight', 'block.bias'}
HEAD = {'head.weight', 'head.bias'}


def expected_at(iteration):
    if iteration < 3:
        return HEAD, 0.0
    if iteration < 5:
        return BLOCK | HEAD, 0.5
    return {'block.weight', 'head.weight'}, 2.0


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel])
def test_stages_follow_the_iteration(wrap):
    model = Model()
    run = runner(wrap(model))
    hook = HOOKS.build(dict(type='TrainingStagesHook', stages=STAGES))
    hook.before_train(run)
    for run.iter in range(7):
        hook.before_train_iter(run, run.iter)
        names, weight = expected_at(run.iter)
        assert trainable(model) == names
        assert model.losses['region_word'].loss_weight == weight
        assert model.losses['area'].loss_weight == 1.0


def test_frozen_parameters_do_not_move_and_lose_their_gradient():
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    hook = TrainingStagesHook([dict(begin=0), dict(begin=1, freeze=['block.*'])])
    run = runner(model)
    hook.before_train(run)
    model(torch.ones(1, 2)).sum().backward()  # gradients that must not survive the freeze
    run.iter = 1
    hook.before_train_iter(run, 1)
    assert model.block.weight.grad is None
    before = copy.deepcopy(model.state_dict())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == HEAD


def test_pattern_that_matches_nothing():
    hook = TrainingStagesHook([dict(begin=0, freeze=['blok.*'])])
    with pytest.raises(ValueError, match=r"'blok\.\*' matches none; nearest names: .*'block\."):
        hook.before_train(runner(Model()))


@pytest.mark.parametrize('name', ['region_wrod', 'plain'])
def test_unknown_loss(name):
    hook = TrainingStagesHook([dict(begin=0, loss_weights={name: 0.0})])
    with pytest.raises(ValueError, match=rf"{name}'; valid: \['region_word', 'area'\]"):
        hook.before_train(runner(Model()))


@pytest.mark.parametrize('begins', [[], [5], [0, 0], [0, 9, 4]])
def test_stages_out_of_order(begins):
    with pytest.raises(ValueError, match='start at 0 and increase'):
        TrainingStagesHook([dict(begin=begin) for begin in begins])


def test_an_unknown_key_of_a_stage():
    with pytest.raises(TypeError, match=r"Stage.*'freze'"):
        TrainingStagesHook([dict(begin=0, freze=['a'])])


def _two_processes():
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    model = Model()
    # Only the final wrapper may wrap the model itself: two would both reduce its gradients.
    hook = TrainingStagesHook([dict(begin=0, freeze=['block.*']), dict(begin=2)])
    with pytest.raises(ValueError, match='set find_unused_parameters=True'):
        hook.before_train(runner(DistributedDataParallel(copy.deepcopy(model))))

    alone = copy.deepcopy(model)
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (model, alone)]
    hook = TrainingStagesHook([dict(begin=0, freeze=['block.*']), dict(begin=2)])
    hook_alone = TrainingStagesHook([dict(begin=0, freeze=['block.*']), dict(begin=2)])
    hook.before_train(runner(wrapped))
    hook_alone.before_train(runner(alone))
    inputs = torch.randn(4, 2, 2)
    for i in range(4):
        hook.before_train_iter(runner(wrapped, i), i)
        hook_alone.before_train_iter(runner(alone, i), i)
        wrapped(inputs[i, rank]).sum().backward()
        alone(inputs[i]).mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    pairs = zip(model.parameters(), alone.parameters(), strict=True)
    return [(ours.detach(), theirs.detach()) for ours, theirs in pairs]


def test_two_processes_equal_one(run_in_two_processes):
    for rank in run_in_two_processes(_two_processes):
        for ours, theirs in rank:
            torch.testing.assert_close(ours, theirs)
