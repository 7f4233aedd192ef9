from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule, BaseTTAModel
from mmengine.runner import IterBasedTrainLoop
from torch import nn
from torch.nn.parallel import DataParallel

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
    return SimpleNamespace(
        model=own, _load_from=source, _resume=resume, _train_loop=loop, cfg=Config(cfg)
    )


def check(own, state, source='work/iter_3.pth', **keys):
    hook = HOOKS.build(dict(type='CheckpointFitHook'))
    hook.after_load_checkpoint(make_runner(own, source, **keys), state)


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel, Averaged])
def test_a_checkpoint_of_the_model_is_taken(wrap):
    state = model().state_dict()
    check(wrap(model()), dict(state_dict=state, meta=dict(iter=3)))
    check(wrap(model()), state)  # weights alone
    del state['1.running_mean']  # a buffer
    check(wrap(model()), dict(state_dict={**state, 'other.weight': torch.ones(1)}))


def test_the_names_of_today_are_handed_to_mmengine():
    released = dict(model={f'module.{k}': v for k, v in model().state_dict().items()})
    check(model(), released)
    assert released['state_dict'].keys() == model().state_dict().keys()


def test_missing_and_wrong_parameters_are_named():
    state = model(4).state_dict()
    del state['2.weight']
    match = (
        r'but work/iter_3.pth \(own\) -> Sequential lacks 1 of its 6 parameters '
        r"\['2.weight'\] and has 4 of another size \['0.weight \(4, 2\) for \(3, 2\)'"
    )
    with pytest.raises(ValueError, match=match):
        check(model(), dict(state_dict=state))


def test_training_may_start_from_some_of_the_weights():
    state = {'2.bias': torch.ones(1)}
    check(model(), dict(state_dict=state), training=True)
    for keys in (dict(), dict(training=True, resume=True)):
        with pytest.raises(ValueError, match='lacks 5 of its 6'):
            check(model(), dict(state_dict=state), **keys)


@pytest.mark.parametrize('training', [True, False])
def test_a_foreign_checkpoint_is_never_taken(training):
    foreign = dict(model={f'net.{k}': v for k, v in model().state_dict().items()}, optimizer={})
    with pytest.raises(ValueError, match=r'the newest one of the work folder .* lacks 6 of its 6'):
        check(model(), foreign, source=None, training=training)


class Filled(BaseModule):
    def init_weights(self):
        self.is_init = True


PRETRAINED = dict(model=dict(init_cfg=dict(type='Pretrained', checkpoint='clip.pt')))


@pytest.mark.parametrize(
    ('keys', 'filled'),
    [
        (dict(cfg=PRETRAINED), True),
        (dict(cfg=dict(model=dict(init_cfg=None))), False),
        (dict(), False),
        (dict(cfg=PRETRAINED, source='iter_3.pth'), False),
        (dict(cfg=PRETRAINED, training=True), False),  # the Runner does it itself
    ],
)
def test_an_evaluation_without_checkpoint_takes_the_weights_that_the_config_names(keys, filled):
    own = Filled()
    HOOKS.build(dict(type='CheckpointFitHook')).before_run(make_runner(own, **keys))
    assert own.is_init is filled


def test_weights_that_a_user_loaded_stay():
    own = Filled()
    own.backbone = Filled()
    own.backbone.is_init = True
    HOOKS.build(dict(type='CheckpointFitHook')).before_run(make_runner(own, cfg=PRETRAINED))
    assert not own.is_init


def test_version_01_is_loaded_but_not_resumed():
    """The order of the parameters was another one, and moments are kept by order."""
    own = nn.ModuleDict(dict(co_decomposition=nn.ModuleDict(dict(noun_prompt=nn.Linear(2, 2)))))
    state = {f'noun_prompt.{name}': torch.ones(2) for name in ('weight', 'bias')}
    state['noun_prompt.weight'] = torch.ones(2, 2)
    old = dict(state_dict=state, optimizer=dict(state={}), meta={})
    with pytest.raises(ValueError, match=r'iter_3\.pth is of an earlier .* load_from=FILE in pl'):
        check(own, dict(old), training=True, resume=True)
    check(own, old, training=True)
    assert old['state_dict'].keys() == own.state_dict().keys()
    check(own, dict(state_dict=own.state_dict(), optimizer={}), training=True, resume=True)
