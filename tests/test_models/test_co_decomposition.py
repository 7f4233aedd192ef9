"""A training step of CoDe: what its losses run and train, and its parts; values: tests/parity."""

import pytest
import torch
import torch.nn.functional as F
from tiny_model import LOSSES, SELECTED, SIZES, caption_samples, images, tiny_clip, tiny_code
from torch import nn

from code_mm.models.co_decomposition import CoDecompositionStep
from code_mm.models.prompts import (
    NounContextPrompt,
    RegionHighlightingPrompt,
    WordHighlightingPrompt,
)
from code_mm.models.segmenters import SimilarityToMask, TextSegmenter
from code_mm.registry import MODELS


def step_of(model, image):
    features, samples = model.pixel_embeddings(image), caption_samples()
    return CoDecompositionStep(model.co_decomposition, model.backbone, image, features, samples)


# What of the backbone runs beside the features: images, guides, nouns, captions, highlighted texts;
# and which parts learn.
MASKS = 'noun_prompt similarity_to_mask image_segmenter'
NEEDED = dict(
    knowledge_guided=('nouns guides', 'noun_prompt'),
    region_feature=('nouns', f'{MASKS} losses'),
    region_image=('nouns images', f'{MASKS} losses region_prompt'),
    feature_variation=('', 'image_segmenter'),
    mask_variation=('nouns', MASKS),
    area=('nouns', MASKS),
    negative_area=('nouns', MASKS),
    word_segmentation=('nouns captions', 'noun_prompt text_segmenter'),
    region_word=(
        'nouns captions texts images',
        f'{MASKS} losses region_prompt text_segmenter word_prompt',
    ),
)
METHODS = dict(
    images='encode_image',
    guides='encode_text',
    nouns='encode_continuations',
    captions='hidden_states',
    texts='encode_words',
)


def spy(backbone, monkeypatch):
    called = []
    for name, method in METHODS.items():
        original = getattr(backbone, method)

        def run(*args, name=name, original=original):
            called.append(name)
            return original(*args)

        monkeypatch.setattr(backbone, method, run)
    return called


def test_what_several_losses_need_is_computed_once(monkeypatch):
    model = tiny_code()
    called = spy(model.backbone, monkeypatch)
    model.loss(images(2, 32, 32), caption_samples())
    assert sorted(called) == ['captions', 'guides', 'images', 'nouns', 'texts', 'texts']


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_runs_and_trains_what_it_needs_and_nothing_else(name, monkeypatch):
    """Gradients of words, for one, do not reach the image segmenter."""
    model = tiny_code(parts=dict(losses={name: LOSSES[name], 'none': None}))
    called, (needed, learning) = spy(model.backbone, monkeypatch), NEEDED[name]
    values = model.loss(images(2, 32, 32), caption_samples())
    assert list(values) == [f'loss_{name}']
    called = [c for c in called if c != 'texts' or 'guides' not in called]  # encode_text's own
    assert sorted(called) == sorted(needed.split())
    values[f'loss_{name}'].backward()
    found = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    parts = {n.removeprefix('co_decomposition.').split('.')[0] for n in found}
    assert parts == set(learning.split())


@MODELS.register_module()
class ShortNouns(nn.Module):
    """A loss of one's own: a class, and a line in the config."""

    def forward(self, step):
        return step.nouns.square().sum() - step.value('word_masks').mean()


def test_a_new_loss_is_one_class_and_one_line():
    model = tiny_code(parts=dict(losses=dict(short=dict(type='ShortNouns'))))
    values = model.loss(images(2, 32, 32), caption_samples())
    step = step_of(model, images(2, 32, 32))
    torch.testing.assert_close(values['loss_short'], 4 - step.word_masks.mean())
    values['loss_short'].backward()
    assert model.noun_prompt.contexts.grad.any()


WIDE = dict(type='CLIP', **{**SIZES, 'text_width': 48, 'text_heads': 3})


@pytest.mark.parametrize(
    ('keys', 'match'),
    [
        *[
            (dict(parts={part: None}), f'expected a {part} in .*{of} needs one; add it')
            for part, of in (
                ('noun_prompt', 'training'),
                ('region_prompt', 'region_embed'),
                ('text_segmenter', 'word_logits'),
                ('word_prompt', 'text_embed'),
            )
        ],
        (
            dict(parts=dict(losses=dict(area=dict(type='AreaLoss', of='own_mask', prior=0.1)))),
            r"among \['features', 'nouns', .*'own_masks'.*\], but got 'own_mask'",
        ),
    ],
)
def test_a_part_that_is_missing_or_does_not_fit_is_named(keys, match):
    with pytest.raises(ValueError, match=match):
        tiny_code(**keys).loss(images(2, 32, 32), caption_samples())


def test_the_image_segmenter_alone():
    """Thesis Table 4.2, first row."""
    losses = {k: v for k, v in LOSSES.items() if k not in ('word_segmentation', 'region_word')}
    parts = dict(text_segmenter=None, word_prompt=None, losses=losses)
    model = tiny_code(parts=parts)
    assert len(model.loss(images(2, 32, 32), caption_samples())) == 7


def test_words_of_a_text_tower_of_another_width_are_projected():
    model = tiny_code(backbone=WIDE)
    segmenter, hidden = model.co_decomposition.text_segmenter, torch.randn(2, 5, 48)
    weight, bias = segmenter.projection.weight, segmenter.projection.bias
    expected = F.normalize(segmenter.transformer(hidden) @ weight.T + bias, dim=-1)
    torch.testing.assert_close(segmenter(hidden), expected)
    values = model.loss(images(2, 32, 32), caption_samples())
    values['loss_word_segmentation'].backward()
    assert weight.grad.any()


@pytest.mark.parametrize('text', [True, False])
def test_decomposition_of_pairs(text):
    model = tiny_code(parts={} if text else dict(text_segmenter=None)).eval()
    image = images(2, 32, 40)
    results, step = model.decompose(image, caption_samples()), step_of(model, image)
    soft = F.interpolate(step.own_masks, (32, 40), mode='bilinear', align_corners=False)
    # row j * b + i is noun j of caption i
    for row, (slot, i) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert results[i].region_masks.shape == (len(SELECTED[i]), 32, 40)
        torch.testing.assert_close(results[i].region_masks[slot], soft[row, 0])
        assert ('word_masks' in results[i]) == text
        if text:
            torch.testing.assert_close(results[i].word_masks[slot], step.word_masks[row])
    assert not results[0].region_masks.requires_grad


def test_hard_masks_are_drawn_anew_with_the_soft_masks_probability():
    to_mask = SimilarityToMask(init_scale=1.0, init_bias=0.0)
    torch.manual_seed(0)
    similarity = torch.tensor([-1.0, 0.0, 1.0])[:, None].expand(-1, 20000)
    first, second = to_mask.hard(similarity), to_mask.hard(similarity)
    assert not torch.equal(first, second)
    expected = similarity[:, 0].sigmoid()
    torch.testing.assert_close(first.mean(1), expected, atol=0.015, rtol=0)
    # half precision knows 1024 numbers between 1/2 and 1, and rounds to 1
    assert to_mask.sample_noise(similarity.half()).dtype == torch.float32


@pytest.mark.parametrize('learnable', [True, False])
def test_where_prompts_start(learnable):
    """At the mean colour, zero, or 'a photo of x x ...'; highlights may stay there."""
    for prompt in (
        RegionHighlightingPrompt(4, learnable=learnable),
        WordHighlightingPrompt(8, 5, learnable=learnable),
    ):
        (fill,) = prompt.parameters()
        assert not fill.any() and fill.requires_grad == learnable
    prompt, clip = NounContextPrompt(32, num_contexts=16), tiny_clip()
    prompt.copy_from(clip)
    ids = clip.tokenizer.encode('a photo of' + ' x' * 13)
    assert torch.equal(prompt.contexts, clip.text.token_embedding.weight[ids])


def test_the_text_segmenter_starts_as_the_release_s():
    # Xavier's bounds sqrt(6 / (in + out)); nn.Linear's are 1 / sqrt(in)
    for block in TextSegmenter(64, 4).transformer.resblocks:
        for weight, bound in (
            (block.attn.in_proj_weight, (6 / (64 + 3 * 64)) ** 0.5),
            (block.attn.out_proj.weight, 64**-0.5),
            (block.mlp.c_proj.weight, 256**-0.5),
        ):
            assert 0.98 * bound < weight.abs().max() <= bound
        assert not block.attn.in_proj_bias.any() and not block.attn.out_proj.bias.any()
