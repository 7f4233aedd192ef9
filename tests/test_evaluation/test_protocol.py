"""What a score was measured with is noted, and the named protocols are what their configs do."""

import hashlib
import json

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.model import BaseModule
from mmseg.registry import TRANSFORMS
from tiny_configs import load, shrink
from tiny_model import tiny_code

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.datasets.benchmarks.table import BENCHMARKS
from code_mm.evaluation.protocol import (
    PROTOCOLS,
    check_protocol_name,
    dataset_protocol,
    departures,
    model_protocol,
    plain,
    settings_of,
)
from code_mm.models.post_processing import PAMR
from code_mm.registry import MODELS
from code_mm.vocabulary import ClassNameFile

NAMES = ['background', 'star', 'boat|ship']
SCLIP = 'projects/dense_clip/configs/{}_vit-b16_sclip-protocol.py'


def test_all_that_changes_a_score_of_code_is_named():
    attention = dict(type='NeighbourhoodAttention', std=2.0)
    mix, pamr = dict(weight=0.2), dict(type='PAMR', num_iter=3, dilations=(1, 2))
    model = tiny_code(
        image_segmenter=dict(type='ImageSegmenter', tail=dict(dense_attention=attention)),
        decode_head=dict(type='ZeroShotHead', knowledge_preserving=mix, post_processor=pamr),
        test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(16, 16)),
        background_threshold=0.4,
    )
    model.set_class_names(NAMES)
    found = json.loads(json.dumps(model_protocol(model)))
    text = '["background", "star", "boat|ship"]'
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    reading, to_mask = dict(type='SelfOnlyAttention'), model.similarity_to_mask
    expected = dict(
        class_names=NAMES,
        class_names_sha256=sha256,
        background_threshold=0.4,
        inference=dict(mode='slide', crop_size=[32, 32], stride=[16, 16]),
        noun_prompt=dict(type='NounContextPrompt', num_contexts=4),
        templates=None,
        dense_attention={'backbone.visual': reading, 'image_segmenter.tail': attention},
        scale=to_mask.scale.item(),
        bias=to_mask.bias.item(),
    )
    assert found | expected == found
    assert found['post_processor'] | dict(pamr, dilations=[1, 2]) == found['post_processor']
    mix = found['knowledge_preserving']
    assert (mix['weight'], mix['scale'], mix['threshold']) == (0.2, 10.0, 0.25)
    assert len(mix['templates']) == 9
    # a model that names no classes
    nothing = dict(inference=None, image_mean=None, image_std=None)
    assert model_protocol(BaseModule()) == dict(type='BaseModule', **nothing)


class Images(BaseDataset):
    def load_data_list(self):
        return [{}, {}]


def test_a_data_set():
    resize = dict(type='mmseg.Resize', scale=(2048, 448), keep_ratio=True)
    pipeline = [resize, dict(type='mmseg.PackSegInputs')]
    data = Images(data_root='data/a', data_prefix=dict(img_path='x'), pipeline=pipeline)
    found = json.loads(json.dumps(dataset_protocol(data)))
    assert (found['type'], found['images'], found['data_root']) == ('Images', 2, 'data/a')
    assert found['data_prefix'] == dict(img_path='data/a/x')
    (resize,) = found['resize']
    assert (resize['scale'], resize['keep_ratio']) == ([2048, 448], True)
    assert [step['type'] for step in found['pipeline']] == ['Resize', 'PackSegInputs']
    both = dataset_protocol(ConcatDataset([data, Images(data_root='data/b')]))
    assert both['images'] == 4
    assert [part['data_root'] for part in both['datasets']] == ['data/a', 'data/b']
    value = dict(a=(np.float64(1.5), float('nan')), b=torch.tensor([1, 2]), c=PAMR, d=np.int64(3))
    assert plain(value) == dict(a=[1.5, None], b=[1, 2], c=str(PAMR), d=3)


def found(config, benchmark):
    """What an evaluation of a config would note of one benchmark; windows of the full size."""
    full, cfg = load(config), shrink(load(config))
    model, keys = MODELS.build(cfg.model), full.test_cfg.benchmarks[benchmark]
    model.set_background_threshold(keys.background_threshold)
    if 'name_scores' in keys:
        model.set_name_scores(keys.name_scores)
    noted = dict(model_protocol(model), inference=plain(full.model.test_cfg))
    noted['class_names_from'] = 'data set'
    if 'class_names' in keys:
        file = ClassNameFile.read(keys.class_names)
        noted['class_names_from'] = dict(file=file.source, sha256=file.sha256)
    pipeline = keys.dataset.get('pipeline') or full.test_dataloader.dataset.pipeline
    steps = [ConfigDict(step, type='mmseg.Resize') for step in pipeline if step.type == 'Resize']
    resize = [settings_of(TRANSFORMS.build(step)) for step in steps]
    return dict(type=BENCHMARKS[benchmark].dataset, resize=resize), noted


@pytest.mark.parametrize('benchmark', BENCHMARKS)
@pytest.mark.parametrize('method', ['code', 'maskclip'])
@pytest.mark.parametrize(('name', 'config'), [('code', 'eval/{}_vit-b16_all.py'), ('sclip', SCLIP)])
def test_configs_keep_the_protocol_that_they_name(name, config, method, benchmark):
    config = config.format(method)
    assert load(config).protocol == name
    assert departures(name, *found(config, benchmark)) == []


def test_departures_are_named():
    dataset, model = found(SCLIP.format('maskclip'), 'voc21')
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


def test_names_of_protocols_and_the_numbers_of_sclips_authors():
    protocols = {name: PROTOCOLS['sclip'](name) for name in BENCHMARKS}
    numbers = {name: tuple(p['name_scores'].values())[1:] for name, p in protocols.items()}
    assert numbers.pop('voc21') == (65.0, 0.1, 0.1)
    assert numbers.pop('context60') == numbers.pop('coco_object') == (50.0, 0.1, None)
    assert set(numbers.values()) == {(40.0, None, None)}
    sides = {name: p['resize']['scale'][1] for name, p in protocols.items()}
    assert (sides.pop('cityscapes'), sides.pop('coco_stuff')) == (560, 448)
    assert set(sides.values()) == {336}
    assert list(PROTOCOLS) == ['code', 'sclip']
    check_protocol_name(None)
    with pytest.raises(ValueError, match=r"or None, but got 'sclp'; did you mean 'sclip'\?"):
        check_protocol_name('sclp')
