"""A CLIP takes the files that fit it; layouts of others: tests/test_weights."""

import pytest
import torch
from safetensors.torch import save_file
from tiny_model import SIZES, openai_state, tiny_clip
from torch import nn

from code_mm.models.backbones.clip import load_clip_weights
from code_mm.registry import MODELS


def build(**sizes):
    return MODELS.build(dict(type='CLIP', **{**SIZES, **sizes}))


@pytest.fixture(scope='module')
def clip():
    return tiny_clip(seed=3)


def test_files_with_openais_names_or_ours_fill_the_whole_model(clip, tmp_path):
    for state in (openai_state(clip), clip.state_dict()):
        torch.save(state, tmp_path / 'ViT-B-16.pt')
        other = build()
        load_clip_weights(other, tmp_path / 'ViT-B-16.pt')
        for key, value in clip.state_dict().items():
            assert torch.equal(other.state_dict()[key], value), key


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16, torch.double])
def test_files_of_another_precision_give_a_single_precision_model(clip, tmp_path, dtype):
    state = {k: v.to(dtype).contiguous() for k, v in openai_state(clip).items()}
    save_file(state, tmp_path / 'other.safetensors')
    other = build()
    load_clip_weights(other, tmp_path / 'other.safetensors')
    assert {p.dtype for p in other.parameters()} == {torch.float32}
    assert torch.equal(other.visual.proj, clip.visual.proj.to(dtype).float())


def test_another_architecture_is_refused_with_both_sizes(clip, tmp_path):
    torch.save(openai_state(clip), tmp_path / 'clip.pth')
    other = build(patch_size=16, text_layers=3, vision_width=96)
    with pytest.raises(ValueError, match=r'clip\.pth does not fit this CLIP: 12 miss') as error:
        load_clip_weights(other, tmp_path / 'clip.pth')
    sizes = str(error.value).split('Expected ')[1].split('but the file (OpenAI layout) has')
    ours = dict(patch_size=16, text_layers=3, vision_width=96, vision_layers=3, image_size=32)
    theirs = dict(patch_size=8, text_layers=2, vision_width=48, vision_layers=3, image_size=32)
    for text, values in zip(sizes, (ours, theirs), strict=True):
        assert all(f"'{key}': {value}" in text for key, value in values.items())
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / 'linear.pth')
    with pytest.raises(ValueError, match=r'missing .* 2 unexpected \[.text\.weight'):
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
    frozen, trained = build(), build(frozen=False)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert all(p.requires_grad for p in trained.parameters())
    frozen.init_weights()
    trained.init_weights()
    assert len(told) == 1
    assert 'the frozen CLIP has no `init_cfg`: its weights are random' in told[0]
