import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from code_mm.engine.hooks import TrainingStagesHook
from code_mm.registry import HOOKS


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


HEAD = {'head.weight', 'head.bias'}
ALL = HEAD | {'block.weight', 'block.bias'}


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel])
def test_stages_follow_the_iteration(wrap):
    stages = [
        dict(begin=0, freeze=['block.*'], loss_weights=dict(region_word=0.0)),
        dict(begin=3, freeze=[]),
        dict(begin=5, freeze=['*.bias'], loss_weights=dict(region_word=2.0)),
    ]
    expected = [(HEAD, 0.0)] * 3 + [(ALL, 0.5)] * 2 + [({'block.weight', 'head.weight'}, 2.0)] * 2
    model = Model()
    run = runner(wrap(model))
    hook = HOOKS.build(dict(type='TrainingStagesHook', stages=stages))
    hook.before_train(run)
    for run.iter, (names, weight) in enumerate(expected):
        hook.before_train_iter(run, run.iter)
        assert {name for name, p in model.named_parameters() if p.requires_grad} == names
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
    assert {name for name in before if not torch.equal(before[name], after[name])} == HEAD


@pytest.mark.parametrize(
    ('stages', 'error', 'match'),
    [
        ([dict(begin=0, freeze=['blok.*'])], ValueError, r"'blok\.\*' matches none.*'block\."),
        ([dict(begin=0, loss_weights=dict(wrod=0.0))], ValueError, r"wrod'; valid: \['region_word"),
        ([dict(begin=0, loss_weights=dict(plain=0.0))], ValueError, "plain'; valid: "),
        ([dict(begin=0, freze=['a'])], TypeError, r"Stage.*'freze'"),
        ([], ValueError, 'start at 0 and increase'),
        ([dict(begin=5)], ValueError, 'start at 0 and increase'),
        ([dict(begin=0), dict(begin=0)], ValueError, 'start at 0 and increase'),
        ([dict(begin=0), dict(begin=9), dict(begin=4)], ValueError, 'start at 0 and increase'),
    ],
)
def test_mistakes_are_named(stages, error, match):
    with pytest.raises(error, match=match):
        TrainingStagesHook(stages).before_train(runner(Model()))


def _two_processes():
    """Parameters after training wrapped on half of each batch, and alone on all of it."""
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    model = Model()
    stages = [dict(begin=0, freeze=['block.*']), dict(begin=2)]
    with pytest.raises(ValueError, match='set find_unused_parameters=True'):
        # of a copy: two wrappers would both reduce its gradients
        TrainingStagesHook(stages).before_train(
            runner(DistributedDataParallel(copy.deepcopy(model)))
        )
    inputs = torch.randn(4, 2, 2)
    alone = copy.deepcopy(model)
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    for trained, batches in ((wrapped, inputs[:, rank]), (alone, inputs)):
        optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
        hook = TrainingStagesHook(stages)
        hook.before_train(runner(trained))
        for i, batch in enumerate(batches):
            hook.before_train_iter(runner(trained, i), i)
            trained(batch).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    return model.state_dict(), alone.state_dict()


def test_two_processes_equal_one(run_in_two_processes):
    for ours, theirs in run_in_two_processes(_two_processes):
        torch.testing.assert_close(ours, theirs)
