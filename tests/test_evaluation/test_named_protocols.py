"""What a named protocol fixes is what its configs say; projects add protocols."""

import pytest
from mmengine.config import ConfigDict
from mmseg.registry import TRANSFORMS
from tiny_configs import load, shrink

from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.evaluation.named_protocols import (
    PROTOCOLS,
    check_protocol_name,
    departures,
    register_protocol,
)
from code_mm.evaluation.protocol import model_protocol, settings_of
from code_mm.registry import MODELS

CONFIG = 'eval/code_vit-b16_all.py'


@pytest.fixture(scope='module')
def model():
    return MODELS.build(shrink(load(CONFIG)).model)


@pytest.fixture
def found(model):
    """``found(benchmark)``: what an evaluation of CONFIG would note of one benchmark."""

    def note(benchmark):
        cfg = load(CONFIG)
        model.set_background_threshold(cfg.test_cfg.benchmarks[benchmark].background_threshold)
        noted = model_protocol(model)
        windows = cfg.model.test_cfg  # of the full size
        noted['inference'] = {k: list(v) if isinstance(v, tuple) else v for k, v in windows.items()}
        noted['class_names_from'] = 'data set'
        steps = [s for s in cfg.test_dataloader.dataset.pipeline if s['type'] == 'Resize']
        steps = [ConfigDict({**step, 'type': 'mmseg.Resize'}) for step in steps]
        resize = [settings_of(TRANSFORMS.build(step)) for step in steps]
        return dict(type=BENCHMARKS[benchmark].dataset, resize=resize), noted

    return note


@pytest.mark.parametrize('benchmark', BENCHMARKS)
def test_configs_keep_the_protocol_that_they_name(found, benchmark):
    assert load(CONFIG).protocol == 'code'
    assert departures('code', benchmark, *found(benchmark)) == []


def test_departures_are_named(found):
    dataset, model = found('voc21')
    dataset['resize'][0]['scale'] = [2048, 336]
    model['inference']['stride'] = [56, 56]
    model['background_threshold'] = 0.3
    model['class_names_from'] = 'config'
    model['noun_prompt'], model['templates'] = None, ['a {}.']
    assert departures('code', 'voc21', dataset, model) == [
        'resize.scale [2048, 336] (code: [2048, 448])',
        'window.stride [56, 56] (code: [224, 224])',
        'class names config (code: data set)',
        'background_threshold 0.3 (code: 0.4)',
        'templates 1 sentences (code: 9 sentences)',
    ]
    (other,) = departures('code', None, dict(type='ShapesWorldDataset'), model)
    assert other == 'data set ShapesWorldDataset (none of the benchmarks of code)'


def test_a_project_adds_a_protocol(found):
    @register_protocol('mine')
    def mine(benchmark):
        scores = dict(type='Softmax', scale=dict(voc21=65.0).get(benchmark, 40.0))
        return {'name_scores': scores, 'window': dict(mode='slide')}

    try:
        check_protocol_name('mine')
        dataset, model = found('voc21')
        model['name_scores'] = dict(type='Softmax', scale=40.0)
        assert departures('mine', 'voc21', dataset, model) == [
            'name_scores.scale 40.0 (mine: 65.0)'
        ]
        assert departures('mine', 'voc20', dataset, model) == []
    finally:
        del PROTOCOLS['mine']


def test_unknown_names():
    check_protocol_name(None)
    with pytest.raises(ValueError, match=r"or None, but got 'coed'; did you mean 'code'\?"):
        check_protocol_name('coed')
