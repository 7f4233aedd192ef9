"""CLIPs of others: embeddings as their own forward pass gives, and what their configs state."""

import json

import pytest
import torch
from foreign_clips import IDS, SIZES, HuggingFace, OpenCLIP, image
from safetensors.torch import save_file

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS
from code_mm.weights import clip_layout, stated_clip, to_own_names


def build(**keys):
    return MODELS.build({'type': 'CLIP', **SIZES, **keys})


def write_index(state, path):
    """safetensors in two parts and the json that names them."""
    names = sorted(state)
    places = {name: f'model-{1 + i % 2}.safetensors' for i, name in enumerate(names)}
    for part in set(places.values()):
        save_file({n: state[n] for n in names if places[n] == part}, path.parent / part)
    path.write_text(json.dumps(dict(metadata=dict(total_size=1), weight_map=places)))


def training_checkpoint(state, path):
    """What open_clip's training writes under several processes, the model compiled."""
    wrapped = {f'module._orig_mod.{name}': value for name, value in state.items()}
    torch.save(dict(epoch=1, name='x', state_dict=wrapped, optimizer=dict(state={})), path)


# layout, activation, file, writer
CASES = [
    (HuggingFace, 'quick_gelu', 'model.safetensors', save_file),
    (HuggingFace, 'gelu', 'model.safetensors', save_file),
    (HuggingFace, 'quick_gelu', 'model.safetensors.index.json', write_index),
    (HuggingFace, 'quick_gelu', 'pytorch_model.bin', torch.save),
    (OpenCLIP, 'gelu', 'open_clip_model.safetensors', save_file),
    (OpenCLIP, 'quick_gelu', 'open_clip_pytorch_model.bin', torch.save),
    (OpenCLIP, 'gelu', 'epoch_1.pt', training_checkpoint),
    (lambda kind: OpenCLIP(kind, text_prefix='text.'), 'gelu', 'x.safetensors', save_file),
]


@pytest.mark.parametrize(('layout', 'activation', 'file', 'write'), CASES)
@torch.no_grad()
def test_embeddings_are_those_of_the_layouts_own_forward_pass(
    tmp_path, layout, activation, file, write
):
    model = layout(activation)
    write(dict(model.state), tmp_path / file)
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / file))
    expected = model.embed_image(image()), model.embed_text(IDS)
    assert expected[0].std() > 0.1 and expected[1].std() > 0.1
    clip = build(activation=activation, init_cfg=init_cfg)
    texts = build(activation=activation, init_cfg=init_cfg, image_tower=False)
    for module in (clip, texts):
        module.init_weights()
    found = clip.encode_image(image()), clip.encode_text(IDS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(texts.encode_text(IDS), expected[1], rtol=1e-4, atol=1e-5)
    assert torch.equal(clip.logit_scale, model.state['logit_scale'].reshape(()))


@torch.no_grad()
def test_the_activation_matters():
    """Else the test above would pass with the wrong one."""
    one, other = HuggingFace('gelu'), HuggingFace('quick_gelu')
    assert (one.embed_text(IDS) - other.embed_text(IDS)).abs().max() > 1e-3
    assert (one.embed_image(image()) - other.embed_image(image())).abs().max() > 1e-3


def test_layouts_are_told_from_names():
    assert clip_layout(HuggingFace().state) == 'Hugging Face'
    assert clip_layout(OpenCLIP().state) == 'open_clip'
    assert clip_layout(OpenCLIP(text_prefix='text.').state) == 'open_clip'
    plain = {k: v for k, v in OpenCLIP().state.items() if k != 'attn_mask'}
    assert clip_layout(plain) == 'OpenAI'
    assert clip_layout({f'module.{name}': value for name, value in plain.items()}) == 'open_clip'
    assert clip_layout(to_own_names(plain)) == 'own'


def test_a_query_without_its_key_and_a_resnet_are_told(tmp_path):
    state = dict(HuggingFace().state)
    del state['text_model.encoder.layers.1.self_attn.k_proj.bias']
    save_file(state, tmp_path / 'x.safetensors')
    match = r"1 missing \['text.transformer.resblocks.1.attn.in_proj_bias'\]"
    with pytest.raises(ValueError, match=match):
        load_clip_weights(build(), tmp_path / 'x.safetensors')
    with pytest.raises(ValueError, match='but got one on a ResNet'):
        to_own_names({'visual.layer1.0.conv1.weight': torch.ones(1), 'logit_scale': torch.ones(())})


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(
        'code_mm.models.backbones.clip.loading.print_log', lambda text, **_: found.append(text)
    )
    return found


def test_the_config_beside_a_file_is_obeyed(tmp_path, warnings):
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
    assert not warnings


@pytest.mark.parametrize(('quick', 'activation'), [(None, 'gelu'), (True, 'quick_gelu')])
def test_open_clips_config(tmp_path, quick, activation):
    model = OpenCLIP(activation)
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(model.config(quick)))
    stated = stated_clip(tmp_path / 'open_clip_model.safetensors', model.state)
    assert (stated.activation, stated.vision_heads, stated.text_heads) == (activation, 5, 2)


def test_a_file_that_states_nothing_is_told_of(tmp_path, warnings):
    torch.save(dict(OpenCLIP().state), tmp_path / 'x.pt')
    load_clip_weights(build(), tmp_path / 'x.pt')
    # 5 heads at width 20, where 64 channels a head are usual
    assert 'does not state its attention heads: 5 are assumed' in warnings[0]
    assert 'x.pt does not state its activation' in warnings[1]
    assert "set activation='gelu'" in warnings[1]


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
