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


def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def call(method, own, *args, source=None, training=False, resume=False, cfg=None):
    """Call the hook as a Runner with this model does."""
    loop = object.__new__(IterBasedTrainLoop) if training else dict(type='IterBasedTrainLoop')
    runner = SimpleNamespace(
        model=own, _load_from=source, _resume=resume, _train_loop=loop, cfg=Config(cfg)
    )
    getattr(HOOKS.build(dict(type='CheckpointFitHook')), method)(runner, *args)


def check(own, checkpoint, source='work/iter_3.pth', **keys):
    call('after_load_checkpoint', own, checkpoint, source=source, **keys)


@pytest.mark.parametrize('wrap', [lambda m: m, DataParallel, Averaged])
def test_a_checkpoint_of_the_model_is_taken(wrap):
    state = model().state_dict()
    check(wrap(model()), dict(state_dict=state, meta=dict(iter=3)))
    check(wrap(model()), state)  # weights alone
    released = dict(model={f'module.{k}': v for k, v in state.items()})
    check(wrap(model()), released)
    assert released['state_dict'].keys() == state.keys()  # the names of today, for mmengine
    del state['1.running_mean']  # a buffer
    check(wrap(model()), dict(state_dict={**state, 'other.weight': torch.ones(1)}))


SOME, FOREIGN = {'2.bias': torch.ones(1)}, {'net.2.bias': torch.ones(1)}


@pytest.mark.parametrize(
    ('state', 'keys', 'lacks'),
    [
        (SOME, dict(), 'iter_3.pth .* lacks 5 of its 6'),
        (SOME, dict(training=True, resume=True), 'lacks 5 of its 6'),
        (FOREIGN, dict(source=None), 'the newest one of the work folder .* lacks 6 of its 6'),
        (FOREIGN, dict(training=True), 'lacks 6 of its 6'),
    ],
)
def test_what_does_not_fit_is_refused(state, keys, lacks):
    check(model(), dict(state_dict=SOME), training=True)  # which may start from some of the weights
    with pytest.raises(ValueError, match=lacks):
        check(model(), dict(state_dict=state), **keys)


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
    call('before_run', own, **keys)
    assert own.is_init is filled
    own = Filled()
    own.backbone = Filled()
    own.backbone.is_init = True  # a user has loaded weights
    call('before_run', own, **keys)
    assert not own.is_init


def test_version_01_is_loaded_but_not_resumed():
    """The order of the parameters was another one, and moments are kept by order."""
    own = nn.ModuleDict(dict(co_decomposition=nn.ModuleDict(dict(noun_prompt=nn.Linear(2, 2)))))
    state = {'noun_prompt.weight': torch.ones(2, 2), 'noun_prompt.bias': torch.ones(2)}
    old = dict(state_dict=state, optimizer=dict(state={}), meta={})
    with pytest.raises(ValueError, match=r'iter_3\.pth is of an earlier .* load_from=FILE in pl'):
        check(own, dict(old), training=True, resume=True)
    check(own, old, training=True)
    assert old['state_dict'].keys() == own.state_dict().keys()
    check(own, dict(state_dict=own.state_dict(), optimizer={}), training=True, resume=True)
