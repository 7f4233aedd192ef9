"""Checkpoints that earlier versions of this project wrote load into today's models."""

import re

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import load_checkpoint, save_checkpoint
from tiny_model import RESNET, SIZES, build, co_decomposition, tiny_code

from code_mm.weights.model_weights import load_model_weights
from code_mm.weights.segmentor_layouts import rename_own
from projects import mixing  # noqa: F401 - registers CaptionAlignedSegmentor

PROJECTED = dict(type='ZeroShotHead', in_channels=64, embed_dim=32, project=True)


def maskclip(seed):
    head = dict(type='ZeroShotHead', in_channels=32)
    backbone = dict(type='CLIP', **SIZES)
    return build(ConfigDict(type='ZeroShotSegmentor', backbone=backbone, decode_head=head), seed)


def on_resnet(kind, seed, image_tower=True, **keys):
    clip = dict(type='CLIP', image_tower=image_tower, **SIZES)
    keys.update(backbone=RESNET, decode_head=PROJECTED, vision_language_backbone=clip)
    return build(ConfigDict(type=kind, **keys), seed)


def supervised(seed):
    return on_resnet('ZeroShotSegmentor', seed, image_tower=False)


def caption_aligned(seed):
    return on_resnet('CaptionAlignedSegmentor', seed, co_decomposition=co_decomposition())


# Today's names -> those of version 0.1. A tower alone had no logit scale.
OLD = {
    tiny_code: [
        (r'co_decomposition\.similarity_to_mask', 'decode_head.similarity_to_mask'),
        (r'co_decomposition\.', ''),
        (r'image_segmenter\.tail\.', 'image_segmenter.'),
    ],
    maskclip: [
        (r'backbone\.text\.', 'decode_head.text_encoder.'),
        (r'backbone\.visual\.', 'backbone.'),
        (r'backbone\.logit_scale', None),
    ],
    supervised: [
        (r'vision_language_backbone\.text\.', 'decode_head.text_encoder.'),
        (r'vision_language_backbone\.logit_scale', None),
    ],
    caption_aligned: [
        (r'co_decomposition\.similarity_to_mask', 'alignment.decode_head.similarity_to_mask'),
        (r'co_decomposition\.', 'alignment.'),
        (r'vision_language_backbone\.', 'alignment.backbone.'),
    ],
}


def old_state(kind, model):
    state = {}
    for name, value in model.state_dict().items():
        renames = (entry for entry in OLD[kind] if re.match(entry[0], name))
        today, then = next(renames, ('', ''))
        if then is not None:
            state[re.sub(f'^{today}', then, name, count=1)] = value.clone()
    return state


@pytest.mark.parametrize('kind', OLD)
@pytest.mark.parametrize('by_mmengine', [True, False])
def test_old_names(kind, by_mmengine, tmp_path):
    old, model, path = kind(1), kind(2), tmp_path / 'old.pth'
    state = old_state(kind, old)
    assert state.keys() != model.state_dict().keys()
    save_checkpoint(dict(state_dict=state, meta={}), str(path))
    if by_mmengine:
        load_checkpoint(model, str(path), strict=False)
    else:
        load_model_weights(model, path)
    expected = old.state_dict()
    for name, value in model.state_dict().items():
        if 'backbone.logit_scale' not in name:
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize('kind', OLD)
def test_todays_names_stay_and_strange_ones_are_still_told(kind):
    old, model = kind(1), kind(2)
    model.load_state_dict(old.state_dict())
    assert all(torch.equal(v, old.state_dict()[k]) for k, v in model.state_dict().items())
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"noun_promt\.contexts"'):
        model.load_state_dict({**old.state_dict(), 'noun_promt.contexts': torch.zeros(1)})


def test_nothing_is_overwritten():
    both = {'losses.a': 1, 'co_decomposition.losses.a': 2, 'x': 3}
    assert rename_own(both, ['co_decomposition.losses.a']) == both
    assert rename_own({'losses.b': 1}, ['co_decomposition.losses.a']) == {'losses.b': 1}


def test_of_two_scales_the_alignments_is_taken():
    """The head of a segmentor that learns from captions, too, had one that nothing trained."""
    state = {f'{of}decode_head.similarity_to_mask.scale': of for of in ('', 'alignment.')}
    found = rename_own(state, ['co_decomposition.similarity_to_mask.scale'])
    assert found['co_decomposition.similarity_to_mask.scale'] == 'alignment.'
