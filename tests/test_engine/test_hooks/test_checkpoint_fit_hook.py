from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseTTAModel
from torch import nn
from torch.nn.parallel import DataParallel

from code_mm.engine.hooks import CheckpointFitHook
from code_mm.registry import HOOKS


class Averaged(BaseTTAModel):
    def __init__(self, module):
        nn.Module.__init__(self)
        self.module = module

    def merge_preds(self, data_samples_list):
        raise NotImplementedError


def model(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def check(own, state, strict=True, source='work/iter_3.pth'):
    runner = SimpleNamespace(model=own, _load_from=source)
    HOOKS.build(dict(type='CheckpointFitHook', strict=strict)).after_load_checkpoint(runner, state)


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel, Averaged])
def test_a_checkpoint_of_the_model_is_taken(wrap):
    state = model().state_dict()
    check(wrap(model()), dict(state_dict=state, meta=dict(iter=3)))
    check(wrap(model()), state)  # weights alone
    check(wrap(model()), dict(state_dict={f'module.{k}': v for k, v in state.items()}))
    del state['1.running_mean']  # a buffer
    check(wrap(model()), dict(state_dict={**state, 'other.weight': torch.ones(1)}))


def test_missing_and_wrong_parameters_are_named():
    state = model(4).state_dict()
    del state['2.weight']
    match = (
        r'checkpoint of this Sequential, but work/iter_3.pth lacks 1 of its 6 parameters '
        r"\['2.weight'\] and has 4 of another size \['0.weight \(4, 2\) for \(3, 2\)'"
    )
    with pytest.raises(ValueError, match=match):
        check(model(), dict(state_dict=state))


def test_training_may_start_from_some_of_the_weights():
    state = {'2.bias': torch.ones(1)}
    check(model(), dict(state_dict=state), strict=False)
    with pytest.raises(ValueError, match='lacks 5 of its 6'):
        check(model(), dict(state_dict=state))


@pytest.mark.parametrize('strict', [True, False])
def test_a_foreign_checkpoint_is_never_taken(strict):
    released = dict(model=model().state_dict(), optimizer=dict())
    with pytest.raises(ValueError, match=r'the newest one of the work folder lacks 6 of its 6'):
        check(model(), released, strict, source=None)


def test_strict_by_default():
    assert CheckpointFitHook().strict
