import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from code_mm.engine.hooks import TrainingStagesHook


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.clip = nn.Linear(2, 2).requires_grad_(False)
        self.block = nn.Linear(2, 2)
        self.head = nn.Linear(2, 1)
        self.losses = nn.ModuleDict({n: nn.Identity() for n in ('region_word', 'area', 'plain')})
        self.losses.region_word.loss_weight, self.losses.area.loss_weight = 0.5, 1.0

    def forward(self, x):
        return self.head(self.block(self.clip(x)))


def runner(model, iteration=0):
    return SimpleNamespace(model=model, iter=iteration, logger=logging.getLogger('test'))


HEAD = {'head.weight', 'head.bias'}
ALL = HEAD | {'block.weight', 'block.bias'}


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel])
def test_stages_follow_the_iteration(wrap):
    """Whatever learns moves; whatever is frozen does not, also by an earlier gradient or decay."""
    stages = [
        dict(begin=0, freeze=['block.*'], loss_weights=dict(region_word=0.0)),
        dict(begin=2, freeze=[]),
        dict(begin=4, freeze=['*.bias'], loss_weights=dict(region_word=2.0)),
    ]
    expected = [(HEAD, 0.0)] * 2 + [(ALL, 0.5)] * 2 + [({'block.weight', 'head.weight'}, 2.0)] * 2
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    run, hook = runner(wrap(model)), TrainingStagesHook(stages)
    hook.before_train(run)
    for run.iter, (names, weight) in enumerate(expected):
        hook.before_train_iter(run, run.iter)
        assert model.losses.region_word.loss_weight == weight
        assert model.losses.area.loss_weight == 1.0
        before = copy.deepcopy(model.state_dict())
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()  # gradients stay where they are
        moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
        assert moved == names


@pytest.mark.parametrize(
    ('stages', 'error', 'match'),
    [
        ([dict(begin=0, freeze=['blok.*'])], ValueError, r"'blok\.\*' matches none.*'block\."),
        ([dict(begin=0, loss_weights=dict(wrod=0.0))], ValueError, r"wrod'; valid: \['region_word"),
        ([dict(begin=0, loss_weights=dict(plain=0.0))], ValueError, "plain'; valid: "),
        ([dict(begin=0, freze=['a'])], TypeError, r"Stage.*'freze'"),
        *[
            ([dict(begin=begin) for begin in begins], ValueError, 'start at 0 and increase')
            for begins in ([], [5], [0, 0], [0, 9, 4])
        ],
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
        wrapped = DistributedDataParallel(copy.deepcopy(model))
        TrainingStagesHook(stages).before_train(runner(wrapped))
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
