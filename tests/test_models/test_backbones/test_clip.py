"""CLIP as a backbone, and the files that fill it; layouts of others: tests/test_weights."""

import pytest
import torch
from tiny_model import images, openai_state, tiny_clip
from torch import nn

import projects.dense_clip  # noqa: F401  registers its parts
from code_mm.models.backbones import CLIP
from code_mm.models.backbones.clip import load_clip_weights


def test_a_dense_reading_has_no_weights_and_is_of_dense_features_alone():
    """Its formulas, and CoDe that starts from it: test_dense_clip.py."""
    clip, plain = tiny_clip(dense_attention=dict(type='CorrelativeSelfAttention')), tiny_clip()
    image = images(2, 16, 24)
    assert torch.equal(clip.encode_image(image), plain.encode_image(image))
    assert not torch.allclose(clip(image)[0], plain(image)[0])
    assert clip.state_dict().keys() == plain.state_dict().keys()
    alone = clip.trunk(image)._replace(class_token=None)
    with pytest.raises(ValueError, match=r'class token beside the patch tokens.*SelfOnlyAttention'):
        clip.dense(alone)


def test_gradients_pass_frozen_parameters():
    clip = tiny_clip()
    assert not any(p.requires_grad for p in clip.parameters())
    for method in (clip.encode_image, lambda x: clip(x)[0]):
        image = images(1, 32, 32).requires_grad_()
        method(image).square().sum().backward()
        assert image.grad.abs().min() > 0
    words = clip.embed_tokens(clip.tokenize('a star')).requires_grad_()
    clip.encode_words(words, torch.tensor([4])).sum().backward()
    assert (words.grad[0].abs().amax(-1) > 0).tolist() == [True] * 4 + [False] * 20
    clip = tiny_clip(frozen=False)
    clip.encode_image(images(1, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in clip.visual.parameters())


@pytest.mark.parametrize(
    ('act', 'match'),
    [
        (lambda clip: clip.trunk(images(1, 32, 5)), r'at least 8 x 8 pixels .* got \(32, 5\)'),
        (
            lambda clip: clip.encode_text(clip.tokenize('a', 30)),
            'at most 24 tokens, but got 30; set context_length',
        ),
        (
            lambda clip: clip.encode_continuations(*map(torch.zeros, ((4, 32), (2, 21, 32), 2))),
            'at most 24 tokens, but got 25',
        ),
        (lambda _: CLIP(vision_layers=1), 'at least 2 vision layers, but got 1'),
        (lambda _: CLIP(image_size=100), 'multiple of the patch size 16, but got 100'),
    ],
)
def test_mistakes(act, match):
    with pytest.raises(ValueError, match=match):
        act(tiny_clip())


def test_another_architecture_is_refused_with_both_sizes(tmp_path):
    torch.save(openai_state(tiny_clip()), tmp_path / 'clip.pth')
    other = tiny_clip(patch_size=16, text_layers=3, vision_width=96)
    with pytest.raises(ValueError, match=r'clip\.pth does not fit this CLIP: 12 miss') as error:
        load_clip_weights(other, tmp_path / 'clip.pth')
    sizes = str(error.value).split('Expected ')[1].split('but the file (OpenAI layout) has')
    ours = dict(patch_size=16, text_layers=3, vision_width=96, vision_layers=3, image_size=32)
    theirs = dict(patch_size=8, text_layers=2, vision_width=48, vision_layers=3, image_size=32)
    for text, values in zip(sizes, (ours, theirs), strict=True):
        assert all(f"'{key}': {value}" in text for key, value in values.items())
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / 'linear.pth')
    with pytest.raises(ValueError, match=r'missing .* 2 unexpected \[.text\.weight'):
        load_clip_weights(tiny_clip(), tmp_path / 'linear.pth')


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16, torch.double])
def test_files_of_another_precision_give_a_single_precision_model(tmp_path, dtype):
    clip, other = tiny_clip(seed=3), tiny_clip()
    torch.save({k: v.to(dtype) for k, v in clip.state_dict().items()}, tmp_path / 'other.pth')
    load_clip_weights(other, tmp_path / 'other.pth')
    for name, value in clip.state_dict().items():
        found = other.state_dict()[name]
        assert found.dtype == torch.float32 and torch.equal(found, value.to(dtype).float()), name


@pytest.mark.parametrize('keys', [dict(checkpiont='x'), dict(checkpoint='x', prefix='clip.')])
def test_init_cfg_of_another_form_is_refused(keys):
    match = r"expected init_cfg=dict\(type='Pretrained', checkpoint=\.\.\.\) for CLIP, but got"
    for init_cfg in (dict(type='Pretrained', **keys), [dict(type='Pretrained', checkpoint='x')]):
        with pytest.raises(ValueError, match=match):
            tiny_clip(init_cfg=init_cfg).init_weights()


def test_a_frozen_model_without_weights_is_told_of(monkeypatch):
    told = []
    monkeypatch.setattr(
        'code_mm.models.backbones.clip.loading.print_log', lambda text, **_: told.append(text)
    )
    tiny_clip().init_weights()
    tiny_clip(frozen=False).init_weights()
    (line,) = told
    assert 'the frozen CLIP has no `init_cfg`: its weights are random' in line
