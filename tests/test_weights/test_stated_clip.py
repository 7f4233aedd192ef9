"""Activation and heads: what files state is compared with the model."""

import json

import pytest
import torch
from foreign_clips import SIZES, HuggingFace, OpenCLIP
from safetensors.torch import save_file

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS
from code_mm.weights import stated_clip


def build(**keys):
    return MODELS.build({'type': 'CLIP', **SIZES, **keys})


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(
        'code_mm.models.backbones.clip.loading.print_log', lambda text, **_: found.append(text)
    )
    return found


@pytest.fixture
def laion(tmp_path):
    """A Hugging Face folder as LAION publishes it."""
    model = HuggingFace('gelu')
    save_file(dict(model.state), tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(model.config('gelu')))
    return tmp_path / 'model.safetensors'


def test_the_config_beside_a_file_is_obeyed(laion, warnings):
    load_clip_weights(build(activation='gelu'), laion)
    match = r"expected activation='gelu', as .*config\.json states.*has 'quick_gelu'; set its key"
    with pytest.raises(ValueError, match=match):
        load_clip_weights(build(), laion)
    with pytest.raises(ValueError, match=r'expected 5 attention heads.*has 4; set vision_heads=5'):
        load_clip_weights(build(activation='gelu', vision_heads=4), laion)
    texts = build(activation='gelu', text_heads=4, image_tower=False)
    with pytest.raises(ValueError, match=r'text tower has 4; set text_heads=2'):
        load_clip_weights(texts, laion)
    assert not warnings


@pytest.mark.parametrize(('quick', 'activation'), [(None, 'gelu'), (True, 'quick_gelu')])
def test_open_clips_config(tmp_path, quick, activation):
    model = OpenCLIP(activation)
    path = tmp_path / 'open_clip_model.safetensors'
    save_file(dict(model.state), path)
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(model.config(quick)))
    stated = stated_clip(path, model.state)
    assert (stated.activation, stated.vision_heads, stated.text_heads) == (activation, 5, 2)
    load_clip_weights(build(activation=activation), path)
    other = 'gelu' if quick else 'quick_gelu'
    with pytest.raises(ValueError, match='set its key activation'):
        load_clip_weights(build(activation=other), path)


def test_a_file_that_states_nothing_is_told_of(tmp_path, warnings):
    torch.save(dict(OpenCLIP().state), tmp_path / 'x.pt')
    load_clip_weights(build(), tmp_path / 'x.pt')
    assert any('x.pt does not state its activation' in text for text in warnings)
    assert any("set activation='gelu'" in text for text in warnings)
    # 5 heads at width 20, where 64 channels a head are usual
    assert any('does not state its attention heads: 5 are assumed' in text for text in warnings)


def test_mixed_or_broken_configs_are_told(tmp_path):
    state = {'text_model.x': torch.ones(1)}
    config = dict(text_config=dict(hidden_act='gelu'), vision_config={})
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='expected one activation in both towers'):
        stated_clip(tmp_path / 'x', state)
    (tmp_path / 'config.json').write_text('{')
    with pytest.raises(ValueError, match=r'config\.json cannot be read'):
        stated_clip(tmp_path / 'x', state)
