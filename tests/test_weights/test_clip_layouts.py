"""CLIPs in the layouts of others give the embeddings that their own forward pass gives."""

import json

import pytest
import torch
from foreign_clips import IDS, SIZES, HuggingFace, OpenCLIP, image
from safetensors.torch import save_file

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS
from code_mm.weights import clip_layout, to_own_names


def write_index(state, path):
    """safetensors in two parts and the json that names them."""
    names = sorted(state)
    places = {name: f'model-{1 + i % 2}.safetensors' for i, name in enumerate(names)}
    for part in set(places.values()):
        save_file({n: state[n] for n in names if places[n] == part}, path.parent / part)
    path.write_text(json.dumps(dict(metadata=dict(total_size=1), weight_map=places)))


def training_checkpoint(state, path):
    """What open_clip's training writes under several processes."""
    wrapped = {f'module.{name}': value for name, value in state.items()}
    torch.save(dict(epoch=1, name='x', state_dict=wrapped, optimizer=dict(state={})), path)


# name -> (model, activation, file, writer)
CASES = {
    'Hugging Face': (HuggingFace('quick_gelu'), 'quick_gelu', 'model.safetensors', save_file),
    'Hugging Face, gelu': (HuggingFace('gelu'), 'gelu', 'model.safetensors', save_file),
    'Hugging Face, in parts': (
        HuggingFace(),
        'quick_gelu',
        'model.safetensors.index.json',
        write_index,
    ),
    'Hugging Face, pickled': (HuggingFace(), 'quick_gelu', 'pytorch_model.bin', torch.save),
    'open_clip': (OpenCLIP(), 'gelu', 'open_clip_model.safetensors', save_file),
    'open_clip, pickled': (OpenCLIP(), 'gelu', 'open_clip_pytorch_model.bin', torch.save),
    'open_clip, quick_gelu': (OpenCLIP('quick_gelu'), 'quick_gelu', 'x.pt', torch.save),
    'open_clip, training': (OpenCLIP(), 'gelu', 'epoch_1.pt', training_checkpoint),
    'open_clip, text tower of its own': (
        OpenCLIP(text_prefix='text.'),
        'gelu',
        'x.safetensors',
        save_file,
    ),
    'checkpoint under "model"': (
        OpenCLIP(),
        'gelu',
        'x.pth',
        lambda state, path: torch.save(dict(model=dict(state), step=3), path),
    ),
}


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_embeddings_are_those_of_the_layouts_own_forward_pass(tmp_path, case):
    model, activation, file, write = CASES[case]
    write(dict(model.state), tmp_path / file)
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / file))
    expected = model.embed_image(image()), model.embed_text(IDS)
    assert expected[0].std() > 0.1 and expected[1].std() > 0.1
    keys = dict(type='CLIP', **SIZES, activation=activation, init_cfg=init_cfg)
    clip, texts = MODELS.build(keys), MODELS.build(dict(keys, image_tower=False))
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


def test_a_query_without_its_key_is_missing(tmp_path):
    state = dict(HuggingFace().state)
    del state['text_model.encoder.layers.1.self_attn.k_proj.bias']
    save_file(state, tmp_path / 'x.safetensors')
    clip = MODELS.build(dict(type='CLIP', **SIZES))
    match = r"1 missing \['text.transformer.resblocks.1.attn.in_proj_bias'\]"
    with pytest.raises(ValueError, match=match):
        load_clip_weights(clip, tmp_path / 'x.safetensors')


def test_a_resnet_is_told(tmp_path):
    state = {'visual.layer1.0.conv1.weight': torch.ones(1), 'logit_scale': torch.ones(())}
    with pytest.raises(ValueError, match='but got one on a ResNet'):
        to_own_names(state)
