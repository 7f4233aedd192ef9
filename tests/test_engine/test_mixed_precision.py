import pytest
from mmengine.config import Config

from code_mm.engine import mixed_precision
from code_mm.engine.mixed_precision import replace_mixed_precision


def config(kind='AmpOptimWrapper', **keys):
    return Config(dict(optim_wrapper=dict(type=kind, clip_grad=dict(max_norm=5.0), **keys)))


@pytest.mark.parametrize('device', ['cpu', 'mps'])
@pytest.mark.parametrize('scope', ['', 'mmengine.'])
def test_a_machine_without_accelerator_trains_in_full_precision(monkeypatch, device, scope):
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: device)
    cfg = config(f'{scope}AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16', use_fsdp=False)
    notice = replace_mixed_precision(cfg)
    assert 'full precision' in notice and device in notice
    assert cfg.optim_wrapper == dict(type=f'{scope}OptimWrapper', clip_grad=dict(max_norm=5.0))


@pytest.mark.parametrize('device', ['cuda', 'npu'])
def test_an_accelerator_keeps_mixed_precision(monkeypatch, device):
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: device)
    cfg = config(loss_scale='dynamic')
    assert replace_mixed_precision(cfg) is None
    assert cfg.optim_wrapper == config(loss_scale='dynamic').optim_wrapper


@pytest.mark.parametrize(
    'cfg', [config('OptimWrapper'), Config(), Config(dict(optim_wrapper=None))]
)
def test_other_configs_are_left_alone(monkeypatch, cfg):
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cpu')
    before = cfg.to_dict()
    assert replace_mixed_precision(cfg) is None
    assert cfg.to_dict() == before
