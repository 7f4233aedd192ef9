from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule, BaseTTAModel
from mmengine.runner import IterBasedTrainLoop
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


def make_runner(own, source=None, training=False, resume=False, cfg=None):
    loop = object.__new__(IterBasedTrainLoop) if training else dict(type='IterBasedTrainLoop')
    runner = SimpleNamespace(model=own, _load_from=source, _resume=resume, _train_loop=loop)
    runner.cfg = Config(cfg)
    return runner


def check(own, state, source='work/iter_3.pth', **keys):
    hook = HOOKS.build(dict(type='CheckpointFitHook'))
    hook.after_load_checkpoint(make_runner(own, source, **keys), state)


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel, Averaged])
def test_a_checkpoint_of_the_model_is_taken(wrap):
    state = model().state_dict()
    check(wrap(model()), dict(state_dict=state, meta=dict(iter=3)))
    check(wrap(model()), state)  # weights alone
    released = dict(model={f'module.{k}': v for k, v in state.items()})
    check(wrap(model()), released)
    assert released['state_dict'].keys() == state.keys()  # what MMEngine will load
    del state['1.running_mean']  # a buffer
    check(wrap(model()), dict(state_dict={**state, 'other.weight': torch.ones(1)}))


WRONG = {key: value for key, value in model(4).state_dict().items() if key != '2.weight'}
SOME = {'2.bias': torch.ones(1)}
FOREIGN = dict(model={f'net.{k}': v for k, v in model().state_dict().items()}, optimizer={})


@pytest.mark.parametrize(
    ('state', 'keys', 'match'),
    [
        (
            WRONG,
            dict(),
            r'checkpoint of this Sequential, but work/iter_3.pth lacks 1 of its 6 parameters '
            r"\['2.weight'\] and has 4 of another size \['0.weight \(4, 2\) for \(3, 2\)'",
        ),
        (SOME, dict(), 'lacks 5 of its 6'),
        (SOME, dict(training=True, resume=True), 'lacks 5 of its 6'),
        (FOREIGN, dict(source=None), 'the newest one of the work folder lacks 6 of its 6'),
        (FOREIGN, dict(training=True), 'lacks 6 of its 6'),
    ],
)
def test_what_does_not_fit_is_named(state, keys, match):
    with pytest.raises(ValueError, match=match):
        check(model(), dict(state), **keys)


def test_training_may_start_from_some_of_the_weights():
    check(model(), dict(state_dict=SOME), training=True)
    with pytest.raises(ValueError, match='lacks 5 of its 6'):
        hook = CheckpointFitHook(strict=True)
        hook.after_load_checkpoint(make_runner(model(), training=True), dict(SOME))


def test_version_01_is_loaded_but_not_resumed():
    """The order of the parameters was another one, and moments are kept by order."""
    own = nn.ModuleDict(dict(co_decomposition=nn.ModuleDict(dict(noun_prompt=nn.Linear(2, 2)))))
    state = {'noun_prompt.weight': torch.ones(2, 2), 'noun_prompt.bias': torch.ones(2)}
    old = dict(state_dict=state, optimizer=dict(state={}), meta={})
    with pytest.raises(
        ValueError, match=r'iter_3\.pth is of an earlier .* load_from=FILE in place'
    ):
        check(own, dict(old), training=True, resume=True)
    check(own, old, training=True)
    assert old['state_dict'].keys() == own.state_dict().keys()
    check(own, dict(state_dict=own.state_dict(), optimizer={}), training=True, resume=True)


class Filled(BaseModule):
    def init_weights(self):
        self.is_init = True


PRETRAINED = dict(model=dict(init_cfg=dict(type='Pretrained', checkpoint='clip.pt')))


@pytest.mark.parametrize(
    ('keys', 'by_user', 'filled'),
    [
        (dict(cfg=PRETRAINED), False, True),
        (dict(cfg=PRETRAINED), True, False),
        (dict(cfg=dict(model=dict(init_cfg=None))), False, False),
        (dict(cfg=PRETRAINED, source='iter_3.pth'), False, False),
        (dict(cfg=PRETRAINED, training=True), False, False),  # the Runner does it itself
    ],
)
def test_an_evaluation_without_checkpoint_takes_the_weights_of_the_config(keys, by_user, filled):
    own = Filled()
    own.backbone = Filled()
    own.backbone._filled_by_checkpoint = by_user
    CheckpointFitHook().before_run(make_runner(own, **keys))
    assert own.is_init is filled
