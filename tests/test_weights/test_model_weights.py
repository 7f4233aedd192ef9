"""Whole segmentors are filled from checkpoints of every kind, by init_cfg and by hand."""

import copy
import hashlib
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import load_checkpoint
from released_files import code_release, tcl_release
from tiny_model import (
    RESNET,
    SIZES,
    co_decomposition,
    code_config,
    images,
    openai_state,
    randomise,
    tiny_clip,
    tiny_code,
)
from torch import nn

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS
from code_mm.vocabulary import embed_vocabulary, get_templates
from code_mm.weights import weights_sha256
from code_mm.weights.model_weights import load_model_weights, pretrained_files
from code_mm.weights.segmentor_layouts import rename_own

LOGS = 'code_mm.weights.model_weights'
NAMES = ['red star', 'boat']
SCALE = 'co_decomposition.similarity_to_mask.scale'
# TCL: what CoDe adds is switched off by keys
TCL = dict(noun_prompt=None, text_segmenter=None, region_prompt=None, word_prompt=None, losses={})


@pytest.fixture(scope='module')
def model():
    return tiny_code(seed=4).eval()


def build(**keys):
    return MODELS.build(code_config(**keys)).eval()


def pretrained(path):
    return dict(type='Pretrained', checkpoint=str(path))


def assert_same(found, expected, but_for='nothing'):
    expected = expected.state_dict()
    for name, value in found.state_dict().items():
        assert but_for in name or torch.equal(value, expected[name]), name


def own_checkpoint(model):
    return dict(state_dict=model.state_dict(), meta=dict(iter=3))


STATES = {
    'own': lambda model: model.state_dict(),
    'release': lambda model: code_release(model)['model'],
    'compiled part': lambda model: {
        n.replace('backbone.', 'backbone._orig_mod.'): v for n, v in model.state_dict().items()
    },
}
# as users write them: names behind a prefix, below a key of their own
CONTENTS = [
    *(('own', prefix, 'model') for prefix in ('', 'module.', '_orig_mod.', 'module._orig_mod.')),
    *(('own', '_orig_mod.module.', key) for key in (None, 'state_dict', 'model_state_dict')),
    *(('release', prefix, 'model') for prefix in ('', 'module._orig_mod.')),
    ('compiled part', '', None),
]


@pytest.mark.parametrize(('kind', 'prefix', 'key'), CONTENTS)
def test_init_cfg_takes_a_checkpoint_that_has_the_clip_inside(
    model, tmp_path, logged, kind, prefix, key
):
    state = {prefix + name: value for name, value in STATES[kind](model).items()}
    torch.save({key: state, 'epoch': 3} if key else state, tmp_path / 'x.pth')
    # the CLIP's own file is not needed, and need not be there
    backbone = dict(type='CLIP', **SIZES, init_cfg=pretrained(tmp_path / 'nowhere.pt'))
    found = build(backbone=backbone, init_cfg=pretrained(tmp_path / 'x.pth'))
    init_cfg = found.init_cfg
    found.init_weights()
    assert_same(found, model)
    assert found.init_cfg is init_cfg and init_cfg['checkpoint'] == str(tmp_path / 'x.pth')
    total = len(model.state_dict())
    assert [text.partition('-> ')[2] for text in logged] == [
        f'CoDeSegmentor: loaded {total}, missing 0, unexpected 0, of another size 0'
    ]


@pytest.mark.parametrize('wrapper', ['', 'clip_model.', 'text_encoder.'])
@torch.no_grad()
def test_a_tcl_release_has_the_class_embeddings_of_its_templates(model, tmp_path, logged, wrapper):
    torch.save(tcl_release(model, wrapper), tmp_path / 'tcl.pth')
    keys = dict(raw_template_mean=True, init_cfg=pretrained(tmp_path / 'tcl.pth'))
    found = build(parts=TCL, **keys)
    found.init_weights()
    assert 'tcl.pth (TCL release) -> CoDeSegmentor: loaded' in logged[0]
    assert 'missing 1 (backbone.logit_scale), unexpected 2 (co_decomposition.losses' in logged[0]
    assert_same(found, model, but_for='backbone.logit_scale')
    found.set_class_names(NAMES)
    templates = get_templates('custom')
    expected = embed_vocabulary(NAMES, model.backbone, None, templates, raw_template_mean=True)
    assert torch.equal(found.vocabulary.embeddings, expected.embeddings)
    with pytest.raises(ValueError, match='expected a noun_prompt'):
        found.loss(images(1, 32, 32), [])


@pytest.fixture
def exported(model, tmp_path, monkeypatch):
    """A CLIP in OpenAI's names, and the trained parts beside it."""
    torch.save(openai_state(model.backbone), tmp_path / 'clip.pt')
    torch.save(own_checkpoint(model), tmp_path / 'iter_3.pth')
    tool = str(Path(__file__).parents[2] / 'tools/model_converters/export_trained.py')
    paths = tmp_path / 'iter_3.pth', tmp_path / 'parts.safetensors'
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, paths)])
    runpy.run_path(tool, run_name='__main__')
    return tmp_path / 'clip.pt', paths[1]


def test_trained_parts_are_small_and_give_the_model_on_top_of_its_clip(model, exported, logged):
    clip, parts = exported
    sizes = {name: value.numel() for name, value in model.state_dict().items()}
    trained = sum(size for name, size in sizes.items() if not name.startswith('backbone.'))
    assert parts.stat().st_size < 4 * trained + 20_000
    backbone = dict(type='CLIP', **SIZES, init_cfg=pretrained(clip))
    found = build(backbone=backbone, init_cfg=pretrained(parts))
    found.init_weights()
    assert_same(found, model)
    assert any('parts.safetensors (trained parts) -> CoDeSegmentor: loaded' in t for t in logged)


def test_parts_on_another_clip_or_on_none_are_refused(exported, tmp_path):
    _, parts = exported
    with pytest.raises(ValueError, match=r'trained parts only: .*set model\.backbone\.init_cfg'):
        load_model_weights(build(), parts)
    torch.save(openai_state(tiny_code(seed=5).backbone), tmp_path / 'other.pt')
    found = build(backbone=dict(type='CLIP', **SIZES, init_cfg=pretrained(tmp_path / 'other.pt')))
    with pytest.raises(ValueError, match=r'expected the CLIP that .* was trained on'):
        load_model_weights(found, parts)


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    smaller = tiny_code(parts=dict(text_segmenter=None, word_prompt=None, losses={}))
    torch.save(own_checkpoint(smaller), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'lacks \d+ of its \d+ parameters'):
        load_model_weights(build(), tmp_path / 'x.pth')
    release = code_release(model)
    release['model']['masker.sim2mask.w'] = torch.ones(3)
    torch.save(release, tmp_path / 'x.pth')
    match = r'1 of another size \[.\w+.similarity_to_mask.scale \(3,\) for \(\)'
    with pytest.raises(ValueError, match=match):
        load_model_weights(build(), tmp_path / 'x.pth')


UNUSABLE = {
    'NaN or infinite': torch.tensor(torch.nan),
    'beyond torch.float32': torch.tensor(1e39, dtype=torch.float64),
    'torch.int64 for torch.float32': torch.tensor(3),
    'torch.bool for torch.float32': torch.tensor(True),
    'torch.complex64 for torch.float32': torch.tensor(1j),
}


@pytest.mark.parametrize('why', UNUSABLE)
def test_values_that_are_no_weights_are_refused_by_name(model, tmp_path, why):
    torch.save({**model.state_dict(), SCALE: UNUSABLE[why]}, tmp_path / 'x.pth')
    match = rf'expected finite floating-point weights, .* 1 are not: {SCALE} \({why}\)'
    with pytest.raises(ValueError, match=match):
        load_model_weights(build(), tmp_path / 'x.pth')
    clip = model.backbone
    value = UNUSABLE[why].expand(clip.visual.proj.shape).clone()
    torch.save({**openai_state(clip), 'visual.proj': value}, tmp_path / 'clip.pth')
    with pytest.raises(ValueError, match=rf'1 are not: visual\.proj \({why}\)'):
        load_clip_weights(tiny_clip(), tmp_path / 'clip.pth')


def test_files_that_a_config_names():
    listed = [dict(init_cfg=dict(type='Normal')), dict(init_cfg=[pretrained('c')])]
    backbone = dict(init_cfg=pretrained('b.pt'))
    config = dict(init_cfg=None, pretrained='zoo://a', backbone=backbone, heads=listed)
    assert list(pretrained_files(config)) == ['zoo://a', 'b.pt', 'c']
    assert not list(pretrained_files(None))


@pytest.mark.parametrize('how', ['init_weights', 'checkpoint', 'checkpoint of the backbone'])
def test_random_weights_do_not_pass_for_those_that_the_config_names(tmp_path, how):
    """As mmseg's ``init_model`` leaves it: built from the config, nothing loaded."""
    torch.save(openai_state(tiny_clip(seed=3)), tmp_path / 'clip.pth')
    model = tiny_code().eval()
    model.backbone.init_cfg = pretrained(tmp_path / 'clip.pth')
    model.set_class_names(NAMES)
    others = {k: v for k, v in model.state_dict().items() if not k.startswith('backbone.')}
    for state in ({}, others):
        model.load_state_dict(state, strict=False)
        with pytest.raises(RuntimeError, match=r'random ones; call model.init_weights.*clip\.pth'):
            model.predict(images(1, 32, 32))
    part = model if how == 'checkpoint' else model.backbone
    if how == 'init_weights':
        model.init_weights()
    else:
        torch.save(dict(state_dict=part.state_dict()), tmp_path / 'checkpoint.pth')
        load_checkpoint(part, str(tmp_path / 'checkpoint.pth'), 'cpu')
    (result,) = copy.deepcopy(model).predict(images(1, 32, 32))
    assert result.pred_sem_seg.data.shape == (1, 32, 32)


def test_a_checksum_is_that_of_names_types_shapes_and_bytes():
    text = b'bias torch.float32 ()\n' + bytes.fromhex('00004040')
    text += b'weight torch.int64 (1, 2)\n' + b''.join(n.to_bytes(8, 'little') for n in (1, 2))
    model, expected = nn.Module(), hashlib.sha256(text).hexdigest()
    model.bias = nn.Parameter(torch.tensor(3.0))
    model.register_buffer('unsaved', torch.rand(2), persistent=False)
    for values in (torch.tensor([[1, 2]]), torch.tensor([[1], [2]]).T):  # also not contiguous
        model.register_buffer('weight', values)
        assert weights_sha256(model) == expected
    model.weight = torch.empty(0, 2)
    assert weights_sha256(model) != expected


# --- checkpoints that earlier versions of this project wrote


def on_resnet(kind, image_tower=True, **keys):
    head = dict(type='ZeroShotHead', in_channels=64, embed_dim=32, project=True)
    clip = dict(type='CLIP', image_tower=image_tower, **SIZES)
    keys.update(backbone=RESNET, decode_head=head, vision_language_backbone=clip)
    return ConfigDict(type=kind, **keys)


MASKCLIP = dict(
    type='ZeroShotSegmentor',
    backbone=dict(type='CLIP', **SIZES),
    decode_head=dict(type='ZeroShotHead', in_channels=32),
)
# Configs, and today's names -> those of version 0.1. A tower alone had no logit scale.
OLD = {
    'CoDe': (
        code_config(),
        (r'co_decomposition\.similarity_to_mask', 'decode_head.similarity_to_mask'),
        (r'co_decomposition\.', ''),
        (r'image_segmenter\.tail\.', 'image_segmenter.'),
    ),
    'MaskCLIP': (
        ConfigDict(MASKCLIP),
        (r'backbone\.text\.', 'decode_head.text_encoder.'),
        (r'backbone\.visual\.', 'backbone.'),
        (r'backbone\.logit_scale', None),
    ),
    'supervised': (
        on_resnet('ZeroShotSegmentor', image_tower=False),
        (r'vision_language_backbone\.text\.', 'decode_head.text_encoder.'),
        (r'vision_language_backbone\.logit_scale', None),
    ),
    'caption-aligned': (
        on_resnet('CaptionAlignedSegmentor', co_decomposition=co_decomposition()),
        (r'co_decomposition\.similarity_to_mask', 'alignment.decode_head.similarity_to_mask'),
        (r'co_decomposition\.', 'alignment.'),
        (r'vision_language_backbone\.', 'alignment.backbone.'),
    ),
}


def old_state(model, renames):
    state = {}
    for name, value in model.state_dict().items():
        today, then = next((entry for entry in renames if re.match(entry[0], name)), ('', ''))
        if then is not None:
            state[re.sub(f'^{today}', then, name, count=1)] = value.clone()
    return state


@pytest.mark.parametrize('kind', OLD)
def test_names_of_earlier_versions_and_of_today(kind, tmp_path):
    config, *renames = OLD[kind]
    old, path = randomise(MODELS.build(config)), str(tmp_path / 'old.pth')
    state, expected = old_state(old, renames), old.state_dict()
    assert state.keys() != expected.keys()
    torch.save(dict(state_dict=state, meta={}), path)
    for load, lacking in (
        (lambda model: load_checkpoint(model, path, strict=False), 'backbone.logit_scale'),
        (lambda model: load_model_weights(model, path), 'backbone.logit_scale'),
        (lambda model: model.load_state_dict(expected), 'nothing'),
    ):
        model = MODELS.build(config)
        load(model)
        assert_same(model, old, but_for=lacking)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"noun_promt\.contexts"'):
        model.load_state_dict({**expected, 'noun_promt.contexts': torch.zeros(1)})


def test_nothing_is_overwritten_and_of_two_scales_the_trained_one_is_taken():
    both = {'losses.a': 1, 'co_decomposition.losses.a': 2, 'x': 3}
    assert rename_own(both, ['co_decomposition.losses.a']) == both
    assert rename_own({'losses.b': 1}, ['co_decomposition.losses.a']) == {'losses.b': 1}
    state = {f'{of}decode_head.similarity_to_mask.scale': of for of in ('', 'alignment.')}
    assert rename_own(state, [SCALE])[SCALE] == 'alignment.'
