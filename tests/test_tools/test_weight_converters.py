"""The converters of weight files, and tools/test.py on what they write."""

import json
import re

import pytest
import torch
from foreign_clips import SIZES as CLIP_SIZES
from foreign_clips import HuggingFace, OpenCLIP
from miniature_benchmarks import make_miniature
from mmengine.config import Config
from released_files import code_release
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_configs import load, shrink
from tiny_model import SIZES, openai_state, tiny_clip

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS


def test_clip_is_converted_with_what_its_config_states(run, tmp_path):
    model = HuggingFace('gelu')
    save_file(dict(model.state), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(model.config('gelu')))
    target = tmp_path / 'new' / 'clip.safetensors'
    text = run('clip', tmp_path / 'model.safetensors', target)
    assert '(Hugging Face layout)' in text
    # the printed line is the config of the file
    line = next(line for line in text.splitlines() if line.startswith('backbone='))
    backbone = Config.fromstring(f'model = dict({line})', '.py').model.backbone
    assert backbone == dict(type='CLIP', **CLIP_SIZES, activation='gelu')
    clip, other = MODELS.build(backbone), MODELS.build(backbone)
    load_clip_weights(clip, tmp_path / 'model.safetensors')
    load_clip_weights(other, target)
    found = other.state_dict()
    assert all(torch.equal(found[name], value) for name, value in clip.state_dict().items())
    with safe_open(target, 'pt') as file:
        assert {'visual.proj', 'text_projection', 'ln_final.bias'} <= set(file.keys())
        assert file.metadata()['vision_heads'] == '5'
    with pytest.raises(ValueError, match=r"expected activation='gelu', as the metadata of"):
        load_clip_weights(MODELS.build({**backbone, 'activation': 'quick_gelu'}), target)


def test_an_activation_that_nothing_states_is_asked_for(run, tmp_path):
    torch.save(dict(OpenCLIP().state), tmp_path / 'x.pt')
    words = [tmp_path / 'x.pt', tmp_path / 'y.safetensors']
    assert 'does not state its activation' in run('clip', *words, status=1)
    assert "activation='gelu'" in run('clip', *words, '--activation', 'gelu')
    words = [words[1], tmp_path / 'z.safetensors', '--activation', 'quick_gelu']
    assert 'expected --activation gelu, as the metadata' in run('clip', *words, status=1)


# Names of mmpretrain 1.3.6 -> ours. The real model, where it is installed, is compared in
# tests/test_models/test_segmentors/test_mmpretrain_backbone.py.
MMPRETRAIN = {
    'cls_token': 'class_embedding',
    'pos_embed': 'positional_embedding',
    'patch_embed.projection.weight': 'conv1.weight',
    'pre_norm.bias': 'ln_pre.bias',
    'ln1.weight': 'ln_post.weight',
    'layers.1.ln1.bias': 'transformer.resblocks.1.ln_1.bias',
    'layers.1.attn.qkv.weight': 'transformer.resblocks.1.attn.in_proj_weight',
    'layers.1.attn.proj.bias': 'transformer.resblocks.1.attn.out_proj.bias',
    'layers.2.ln2.weight': 'transformer.resblocks.2.ln_2.weight',
    'layers.2.ffn.layers.0.0.bias': 'transformer.resblocks.2.mlp.c_fc.bias',
    'layers.2.ffn.layers.1.weight': 'transformer.resblocks.2.mlp.c_proj.weight',
}


@torch.no_grad()
def test_a_clip_gets_the_names_of_mmpretrain(run, tmp_path):
    clip, target = tiny_clip(), tmp_path / 'new' / 'clip.pth'
    save_file({k: v.half() for k, v in openai_state(clip).items()}, tmp_path / 'clip.safetensors')
    run('clip_to_mmpretrain', tmp_path / 'clip.safetensors', target)
    state = torch.load(target, weights_only=True)['state_dict']
    own = clip.half().float().state_dict()  # what the file held
    for theirs, ours in MMPRETRAIN.items():
        found = state[f'backbone.{theirs}']
        assert torch.equal(found.flatten(), own[f'visual.{ours}'].flatten()), theirs
    assert state['backbone.cls_token'].shape == (1, 1, SIZES['vision_width'])
    assert {value.dtype for value in state.values()} == {torch.float32}
    text = {name for name in own if not name.startswith('visual.')}
    assert all(torch.equal(state[f'vision_language_backbone.{name}'], own[name]) for name in text)
    features = torch.rand(2, SIZES['vision_width'], 3, 4)
    weight, bias = (state[f'decode_head.projection.{name}'] for name in ('weight', 'bias'))
    projected = torch.nn.functional.conv2d(features, weight, bias).permute(0, 2, 3, 1)
    torch.testing.assert_close(projected, features.permute(0, 2, 3, 1) @ clip.visual.proj)
    assert len(state) == len(own) + 1  # the bias


def test_every_checkpoint_of_a_model_gives_the_same_score(run, tmp_path):
    cfg = shrink(load('eval/code_vit-b16_ade20k.py'), tmp_path / 'clip.pt')
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.test_dataloader.dataset.data_root = str(make_miniature('ade20k', tmp_path))
    cfg.model.decode_head.update(post_processor=None, knowledge_preserving=None)
    cfg.dump(tmp_path / 'config.py')
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, 'backbone': {**cfg.model.backbone, 'init_cfg': None}})
    torch.save(openai_state(model.backbone), tmp_path / 'clip.pt')
    torch.save(code_release(model), tmp_path / 'release.pth')
    meta = dict(iter=7, cfg='model = dict(backbone=dict(frozen=True))')
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'iter_7.pth')

    text = run('release', tmp_path / 'release.pth', tmp_path / 'converted.pth')
    assert '(CoDe release)' in text and '0 unexpected' in text
    text = run('export_trained', tmp_path / 'iter_7.pth', tmp_path / 'parts.safetensors')
    assert 'MB instead of' in text
    with safe_open(tmp_path / 'parts.safetensors', 'pt') as file:
        assert file.metadata()['iteration'] == '7'
        assert not [name for name in file.keys() if name.startswith('backbone.')]  # noqa: SIM118
    found = []
    for name in ('iter_7.pth', 'release.pth', 'converted.pth', 'parts.safetensors'):
        work = tmp_path / f'work_{name}'
        run('test', tmp_path / 'config.py', tmp_path / name, '--work-dir', work)
        (log,) = work.glob('2*/2*.json')
        scores = json.loads(log.read_text())
        found.append({key: value for key, value in scores.items() if 'time' not in key})
    assert 0 <= found[0]['mIoU'] <= 100 and found == [found[0]] * 4, found


@pytest.mark.parametrize(
    ('name', 'target', 'message'),
    [
        ('release', 'x.pth', r'expected a checkpoint of the CoDe or TCL release, but .*\[.b.\]'),
        ('export_trained', 'x.safetensors', '0 tensors of a CLIP'),
        ('export_trained', 'x.pth', r'expected a file \*\.safetensors to write'),
        ('export_trained', 'unfrozen', 'has frozen=False: its CLIP was trained too'),
        ('clip', 'x.pth', r'expected a target \*\.safetensors'),
    ],
)
def test_mistakes_are_named(run, tmp_path, name, target, message):
    meta = dict(cfg='backbone=dict(frozen=False)') if target == 'unfrozen' else {}
    torch.save(dict(state_dict={'b': torch.ones(1)}, meta=meta), tmp_path / 'own.pth')
    target = target.replace('unfrozen', 'x.safetensors')
    assert re.search(message, run(name, tmp_path / 'own.pth', tmp_path / target, status=1))
