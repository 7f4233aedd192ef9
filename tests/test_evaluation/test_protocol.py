import hashlib
import json

import numpy as np
import torch
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.model import BaseModule
from tiny_model import tiny_code

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.evaluation.protocol import dataset_protocol, model_protocol, plain
from code_mm.models.post_processing import PAMR

NAMES = ['background', 'star', 'boat|ship']
ATTENTION = dict(type='NeighbourhoodAttention', std=2.0)


class Images(BaseDataset):
    def load_data_list(self):
        return [{}, {}]


def test_all_that_changes_a_score_of_code_is_named():
    head = dict(
        type='ZeroShotHead',
        knowledge_preserving=dict(weight=0.2),
        post_processor=dict(type='PAMR', num_iter=3, dilations=(1, 2)),
    )
    test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    segmenter = dict(type='ImageSegmenter', tail=dict(dense_attention=ATTENTION))
    model = tiny_code(
        image_segmenter=segmenter, decode_head=head, test_cfg=test_cfg, background_threshold=0.4
    )
    model.set_class_names(NAMES)
    found = json.loads(json.dumps(model_protocol(model)))
    assert found['class_names'] == NAMES
    text = '["background", "star", "boat|ship"]'
    assert found['class_names_sha256'] == hashlib.sha256(text.encode()).hexdigest()
    assert found['background_threshold'] == 0.4
    assert found['inference'] == dict(mode='slide', crop_size=[32, 32], stride=[16, 16])
    assert found['noun_prompt'] == dict(type='NounContextPrompt', num_contexts=4)
    assert found['templates'] is None
    assert found['dense_attention'] == {
        'backbone.visual': dict(type='SelfOnlyAttention'),
        'image_segmenter.tail': ATTENTION,
    }
    pamr = found['post_processor']
    assert (pamr['type'], pamr['num_iter'], pamr['dilations']) == ('PAMR', 3, [1, 2])
    mix = found['knowledge_preserving']
    assert (mix['weight'], mix['scale'], mix['threshold']) == (0.2, 10.0, 0.25)
    assert len(mix['templates']) == 9
    to_mask = model.similarity_to_mask
    assert (found['scale'], found['bias']) == (to_mask.scale.item(), to_mask.bias.item())


def test_a_model_that_names_no_classes():
    found = model_protocol(BaseModule())
    assert found == dict(type='BaseModule', inference=None, image_mean=None, image_std=None)


def test_a_data_set():
    pipeline = [
        dict(type='mmseg.Resize', scale=(2048, 448), keep_ratio=True),
        dict(type='mmseg.PackSegInputs'),
    ]
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


def test_plain_values():
    value = dict(a=(np.float64(1.5), float('nan')), b=torch.tensor([1, 2]), c=PAMR, d=np.int64(3))
    assert plain(value) == dict(a=[1.5, None], b=[1, 2], c=str(PAMR), d=3)
    json.dumps(plain(value), allow_nan=False)
