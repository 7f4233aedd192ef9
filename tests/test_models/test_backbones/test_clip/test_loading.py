import pytest
import torch
from safetensors.torch import save_file
from tiny_model import SIZES, openai_state, randomise, tiny_clip
from torch import nn

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS


def build(**sizes):
    return MODELS.build(dict(type='CLIP', **{**SIZES, **sizes}))


@pytest.fixture(scope='module')
def clip():
    return tiny_clip(seed=3)


def write_safetensors(state, path):
    save_file({k: v.contiguous() for k, v in state.items()}, path)


def test_a_file_fills_the_whole_model(clip, tmp_path):
    torch.save(openai_state(clip), tmp_path / 'ViT-B-16.pt')
    other = build()
    load_clip_weights(other, tmp_path / 'ViT-B-16.pt')
    for key, value in clip.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_half_precision_files_give_a_single_precision_model(clip, tmp_path):
    state = {k: v.half() for k, v in openai_state(clip).items()}
    write_safetensors(state, tmp_path / 'half.safetensors')
    other = build()
    load_clip_weights(other, tmp_path / 'half.safetensors')
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    torch.testing.assert_close(other.visual.proj, clip.visual.proj.half().float(), rtol=0, atol=0)


def test_files_with_our_own_names_are_taken_too(clip, tmp_path):
    torch.save(clip.state_dict(), tmp_path / 'own.pth')
    other = build()
    load_clip_weights(other, tmp_path / 'own.pth')
    assert torch.equal(other.text.positional_embedding, clip.text.positional_embedding)


def test_a_text_tower_alone_takes_its_part_of_the_file(clip, tmp_path):
    path = str(tmp_path / 'clip.safetensors')
    write_safetensors(openai_state(clip), path)
    text = build(image_tower=False, init_cfg=dict(type='Pretrained', checkpoint=path))
    text.init_weights()
    ids = torch.tensor([[49406, 320, 49407]])
    assert torch.equal(text.encode_text(ids), clip.encode_text(ids))


def test_another_architecture_is_refused_with_both_sizes(clip, tmp_path):
    torch.save(openai_state(clip), tmp_path / 'clip.pth')
    other = build(patch_size=16, text_layers=3, vision_width=96)
    with pytest.raises(ValueError) as error:
        load_clip_weights(other, tmp_path / 'clip.pth')
    message = str(error.value)
    assert 'clip.pth does not fit this CLIP: 12 missing' in message
    expected, found = message.split('Expected ')[1].split('but the file (OpenAI layout) has')
    for key, ours, theirs in (
        ('patch_size', 16, 8),
        ('text_layers', 3, 2),
        ('vision_width', 96, 48),
        ('vision_layers', 3, 3),
        ('image_size', 32, 32),
        ('context_length', 24, 24),
    ):
        assert f"'{key}': {ours}" in expected
        assert f"'{key}': {theirs}" in found


def test_a_foreign_model_is_refused(clip, tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / 'linear.pth')
    with pytest.raises(ValueError, match=r'missing .* 2 unexpected \[.text\.bias'):
        load_clip_weights(clip, tmp_path / 'linear.pth')


@pytest.mark.parametrize(
    'init_cfg',
    [
        dict(type='Pretrained', checkpiont='x'),
        dict(type='Pretrained', checkpoint='x', prefix='clip.'),
        [dict(type='Pretrained', checkpoint='x')],
    ],
)
def test_init_cfg_of_another_form_is_refused(init_cfg):
    match = r"expected init_cfg=dict\(type='Pretrained', checkpoint=\.\.\.\) for CLIP, but got"
    with pytest.raises(ValueError, match=match):
        build(init_cfg=init_cfg).init_weights()


def test_a_frozen_model_without_weights_is_told_of(monkeypatch):
    told = []
    monkeypatch.setattr(
        'code_mm.models.backbones.clip.loading.print_log', lambda text, **_: told.append(text)
    )
    build().init_weights()
    build(frozen=False).init_weights()
    assert len(told) == 1
    assert 'the frozen CLIP has no `init_cfg`: its weights are random' in told[0]


def test_freezing_is_all_or_nothing():
    assert not any(p.requires_grad for p in build().parameters())
    assert all(p.requires_grad for p in build(frozen=False).parameters())
    assert not any(p.requires_grad for p in randomise(build()).parameters())
