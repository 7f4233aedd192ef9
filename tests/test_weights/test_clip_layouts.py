"""CLIPs of others fill ours, whatever names they have; what their configs state is obeyed."""

import json

import pytest
import torch
from foreign_clips import SIZES, HuggingFace, OpenCLIP
from safetensors.torch import save_file

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS
from code_mm.weights import clip_layout, stated_clip, to_own_names

LOGS = 'code_mm.models.backbones.clip.loading'
STATE = OpenCLIP().state
PLAIN = {name: value for name, value in STATE.items() if name != 'attn_mask'}
LAYOUTS = [
    ('Hugging Face', HuggingFace().state),
    ('open_clip', STATE),
    ('open_clip', OpenCLIP(text_prefix='text.').state),
    # what its training writes under several processes, the model compiled
    ('open_clip', {f'module._orig_mod.{name}': value for name, value in STATE.items()}),
    ('open_clip', {f'module.{name}': value for name, value in PLAIN.items()}),
    ('OpenAI', PLAIN),
    ('own', to_own_names(PLAIN)),
]


def build(**keys):
    return MODELS.build({'type': 'CLIP', **SIZES, **keys})


@pytest.mark.parametrize(('layout', 'state'), LAYOUTS)
def test_a_clip_of_any_layout_fills_both_towers_or_one(tmp_path, layout, state):
    assert clip_layout(state) == layout
    torch.save(state, tmp_path / 'x.pt')
    expected = OpenCLIP().clip.state_dict()
    for clip in (build(), build(image_tower=False)):
        load_clip_weights(clip, tmp_path / 'x.pt')
        for name, value in clip.state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_a_query_without_its_key_and_a_resnet_are_told(tmp_path):
    state = dict(HuggingFace().state)
    del state['text_model.encoder.layers.1.self_attn.k_proj.bias']
    save_file(state, tmp_path / 'x.safetensors')
    match = r"1 missing \['text.transformer.resblocks.1.attn.in_proj_bias'\]"
    with pytest.raises(ValueError, match=match):
        load_clip_weights(build(), tmp_path / 'x.safetensors')
    with pytest.raises(ValueError, match='but got one on a ResNet'):
        to_own_names({'visual.layer1.0.conv1.weight': torch.ones(1), 'logit_scale': torch.ones(())})


def test_the_config_beside_a_file_is_obeyed(tmp_path, logged):
    """A Hugging Face folder as LAION publishes it."""
    model, laion = HuggingFace('gelu'), tmp_path / 'model.safetensors'
    save_file(dict(model.state), laion)
    (tmp_path / 'config.json').write_text(json.dumps(model.config('gelu')))
    load_clip_weights(build(activation='gelu'), laion)
    match = r"expected activation='gelu', as .*config\.json states.*has 'quick_gelu'; set its key"
    with pytest.raises(ValueError, match=match):
        load_clip_weights(build(), laion)
    with pytest.raises(ValueError, match=r'expected 5 attention heads.*has 4; set vision_heads=5'):
        load_clip_weights(build(activation='gelu', vision_heads=4), laion)
    with pytest.raises(ValueError, match=r'text tower has 4; set text_heads=2'):
        load_clip_weights(build(activation='gelu', text_heads=4, image_tower=False), laion)
    assert not logged


@pytest.mark.parametrize(('quick', 'activation'), [(None, 'gelu'), (True, 'quick_gelu')])
def test_open_clips_config(tmp_path, quick, activation):
    model = OpenCLIP(activation)
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(model.config(quick)))
    stated = stated_clip(tmp_path / 'open_clip_model.safetensors', model.state)
    assert (stated.activation, stated.vision_heads, stated.text_heads) == (activation, 5, 2)


def test_a_file_that_states_nothing_is_told_of(tmp_path, logged):
    torch.save(dict(OpenCLIP().state), tmp_path / 'x.pt')
    load_clip_weights(build(), tmp_path / 'x.pt')
    # 5 heads at width 20, where 64 channels a head are usual
    assert 'does not state its attention heads: 5 are assumed' in logged[0]
    assert 'x.pt does not state its activation' in logged[1]
    assert "set activation='gelu'" in logged[1]


@pytest.mark.parametrize(
    ('text', 'name', 'message'),
    [
        ('{"text_config": {"hidden_act": "gelu"}}', 'config', 'one activation in both towers'),
        ('{', 'config', 'Expecting'),
        ('{"vision_config": 3}', 'config', 'int'),
        ('[' * 100_000, 'config', 'recursion'),
        ('{"vision_cfg": {"head_width": 0}}', 'open_clip_config', 'zero'),
        ('{"vision_cfg": {"width": 0}}', 'open_clip_config', r'\[0, 8\] heads'),
        ('{"text_cfg": {"heads": "8"}}', 'open_clip_config', r"\[12, '8'\] heads"),
        ('{"vision_cfg": {"width": 1e999}}', 'open_clip_config', 'nan'),
        ('[]', 'open_clip_config', 'no attribute'),
        (f'{{"a": "{"a" * (2 << 20)}"}}', 'open_clip_config', 'longer than 2 MiB'),
        ('{"text_config": {"hidden_act": []}}', 'config', 'unhashable'),
        (
            '{"text_config": {"hidden_act": "relu"}, "vision_config": {"hidden_act": "relu"}}',
            *('config', "states activation 'relu'"),
        ),
    ],
)
def test_mixed_or_broken_configs_are_told(tmp_path, text, name, message):
    (tmp_path / f'{name}.json').write_text(text)
    state = {'text_model.x' if name == 'config' else 'visual.x': torch.ones(1)}
    with pytest.raises(ValueError, match=rf'{name}\.json cannot be read: .*{message}'):
        stated_clip(tmp_path / 'x', state)
