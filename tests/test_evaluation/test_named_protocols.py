"""What the two named protocols fix is what their configs say."""

import pytest
from mmengine.config import ConfigDict
from mmseg.registry import TRANSFORMS
from tiny_configs import load, shrink

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.evaluation.protocol import (
    PROTOCOLS,
    check_protocol_name,
    departures,
    model_protocol,
    settings_of,
)
from code_mm.registry import MODELS
from code_mm.vocabulary import ClassNameFile


def found(config, benchmark):
    """What an evaluation of a config would note of one benchmark; windows of the full size."""
    cfg = load(config)
    windows = cfg.model.test_cfg
    cfg = shrink(cfg)
    model = MODELS.build(cfg.model)
    keys = load(config).test_cfg.benchmarks[benchmark]
    pipeline = keys.dataset.get('pipeline') or load(config).test_dataloader.dataset.pipeline
    model.set_background_threshold(keys.background_threshold)
    if 'name_scores' in keys:
        model.set_name_scores(keys.name_scores)
    noted = model_protocol(model)
    noted['inference'] = {k: list(v) if isinstance(v, tuple) else v for k, v in windows.items()}
    noted['class_names_from'] = 'data set'
    if 'class_names' in keys:
        file = ClassNameFile.read(keys.class_names)
        noted['class_names_from'] = dict(file=file.source, sha256=file.sha256)
    steps = [ConfigDict(step) for step in pipeline if step['type'] == 'Resize']
    resize = [settings_of(TRANSFORMS.build({**s, 'type': 'mmseg.Resize'})) for s in steps]
    return dict(type=BENCHMARKS[benchmark].dataset, resize=resize), noted


@pytest.mark.parametrize('benchmark', BENCHMARKS)
@pytest.mark.parametrize('method', ['code', 'maskclip'])
@pytest.mark.parametrize(
    ('name', 'config'),
    [
        ('code', 'eval/{}_vit-b16_all.py'),
        ('sclip', 'projects/dense_clip/configs/{}_vit-b16_sclip-protocol.py'),
    ],
)
def test_configs_keep_the_protocol_that_they_name(name, config, method, benchmark):
    config = config.format(method)
    assert load(config).protocol == name
    assert departures(name, *found(config, benchmark)) == []


def test_departures_are_named():
    dataset, model = found(
        'projects/dense_clip/configs/maskclip_vit-b16_sclip-protocol.py', 'voc21'
    )
    dataset['resize'][0]['scale'] = [2048, 448]
    model['inference']['stride'] = [56, 56]
    model['name_scores']['min_share'] = None
    model['class_names_from'] = 'data set'
    model['templates'] = ['a {}.']
    sha256 = PROTOCOLS['sclip']('voc21')['class names']['sha256']
    assert departures('sclip', dataset, model) == [
        'resize.scale [2048, 448] (sclip: [2048, 336])',
        'window.stride [56, 56] (sclip: [112, 112])',
        f"class names data set (sclip: {{'sha256': '{sha256}'}})",
        'name_scores.min_share None (sclip: 0.1)',
        'templates 1 sentences (sclip: 80 sentences)',
    ]
    assert len(departures('code', dataset, model)) > 3
    (other,) = departures('code', dict(type='ShapesWorldDataset'), model)
    assert other == 'data set ShapesWorldDataset (none of the benchmarks of code)'


def test_scales_and_thresholds_of_sclip():
    """The numbers of the authors' configs."""
    numbers = {
        name: tuple(PROTOCOLS['sclip'](name)['name_scores'].values())[1:] for name in BENCHMARKS
    }
    assert numbers.pop('voc21') == (65.0, 0.1, 0.1)
    assert numbers.pop('context60') == numbers.pop('coco_object') == (50.0, 0.1, None)
    assert set(numbers.values()) == {(40.0, None, None)}
    sides = {name: PROTOCOLS['sclip'](name)['resize']['scale'][1] for name in BENCHMARKS}
    assert (sides.pop('cityscapes'), sides.pop('coco_stuff')) == (560, 448)
    assert set(sides.values()) == {336}


def test_unknown_names():
    assert list(PROTOCOLS) == ['code', 'sclip']
    check_protocol_name(None)
    with pytest.raises(ValueError, match=r"or None, but got 'sclp'; did you mean 'sclip'\?"):
        check_protocol_name('sclp')
