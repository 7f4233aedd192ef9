"""A training step of CoDe: its values against loops over pairs, and when they are computed."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_model import LOSSES, SELECTED, SIZES, caption_samples, images, tiny_code
from torch import nn

from code_mm.models.co_decomposition import CoDecompositionStep
from code_mm.registry import MODELS

PAIRS = [(slot, i) for slot in range(2) for i in range(2)]  # rows of n = k * b pairs


@pytest.fixture
def model():
    """Uniform noise of one half: a region is where the soft mask is over one half."""
    model = tiny_code()
    model.similarity_to_mask.sample_noise = lambda similarity: torch.full_like(similarity, 0.5)
    with torch.no_grad():
        model.similarity_to_mask.bias.zero_()  # about half of the image
    return model


def step_of(model, image=None, samples=None):
    image = images(2, 32, 40) if image is None else image
    features = model.pixel_embeddings(image)
    samples = caption_samples() if samples is None else samples
    return CoDecompositionStep(model.co_decomposition, model.backbone, image, features, samples)


def slow_nouns(model, samples):
    """[start][contexts][noun][end] of every pair, encoded alone (§3.2)."""
    table, rows = model.backbone.text.token_embedding.weight, []
    for slot, i in PAIRS:
        ids = samples[i].noun_ids[slot]
        words = [table[49406], *model.noun_prompt.contexts, *table[ids[1 : ids.argmax() + 1]]]
        embed = model.backbone.encode_words(torch.stack(words)[None], torch.tensor([len(words)]))
        rows.append(F.normalize(embed[0], dim=0))
    return rows


def slow_texts(model, samples, nouns):
    """Word masks (Eqs. 3.2, 3.3) and embeddings of highlighted captions (Eqs. 3.5, 3.6)."""
    clip, parts, masks, texts = model.backbone, model.co_decomposition, [], []
    for slot, i in PAIRS:
        ids, segmenter = samples[i].caption_ids[None], parts.text_segmenter
        words = F.normalize(segmenter.transformer(clip.hidden_states(ids))[0], dim=-1)
        own = [nouns[other * 2 + i] for other in range(2)]
        cases = [torch.zeros(len(words))]
        cases += [segmenter.scale * (words @ noun) + segmenter.bias for noun in own]
        masks.append(torch.stack(cases).softmax(0)[slot + 1])
        end, position = int(ids.argmax()), torch.arange(len(words))
        inside = (position > 0) & (position < end)
        mask = torch.where(inside, masks[-1], 1.0)[:, None]
        shown = mask * clip.embed_tokens(ids)[0] + (1 - mask) * parts.word_prompt.words
        texts.append(clip.encode_words(shown[None], torch.tensor([end + 1]))[0])
    return torch.stack(masks), torch.stack(texts)


def test_values_pair_by_pair(model):
    samples, image = caption_samples(), images(2, 32, 40)
    step, to_mask, clip = step_of(model, image, samples), model.similarity_to_mask, model.backbone
    nouns = slow_nouns(model, samples)
    torch.testing.assert_close(step.nouns, torch.stack(nouns))
    guides = [clip.encode_text(samples[i].guide_ids[slot][None])[0] for slot, i in PAIRS]
    torch.testing.assert_close(step.guide, F.normalize(torch.stack(guides), dim=1))
    assert not step.guide.requires_grad
    negatives = []
    for row, (_, i) in enumerate(PAIRS):
        features, soft = step.features[i], []
        for column, noun in enumerate(nouns):
            cosine = (features * noun[:, None, None]).sum(0)
            soft.append(torch.sigmoid(to_mask.scale * cosine + to_mask.bias))
            torch.testing.assert_close(step.masks[i, column], soft[-1])
            pooled = (features * soft[-1]).sum((1, 2)) / (soft[-1].sum() + 1e-6)
            torch.testing.assert_close(step.pooled[row, column], pooled)
            negatives += [soft[-1].mean()] if column != row else []
        torch.testing.assert_close(step.own_masks[row, 0], soft[row])
        hard = (soft[row] > 0.5).float()
        assert torch.equal(step.hard_masks[row, 0].detach(), hard) and 0 < hard.mean() < 1
        shown = F.interpolate(hard[None, None], (32, 40), mode='nearest')
        fill = F.interpolate(model.co_decomposition.region_prompt.image, (32, 40), mode='bilinear')
        region = clip.encode_image(shown * image[i] + (1 - shown) * fill)[0]
        torch.testing.assert_close(step.region_embed[row], region)
    torch.testing.assert_close(step.negative_area, torch.stack(negatives).mean())
    masks, texts = slow_texts(model, samples, nouns)
    torch.testing.assert_close(step.word_masks, masks)
    torch.testing.assert_close(step.text_embed, texts)


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


def test_what_several_losses_need_is_computed_once(model, monkeypatch):
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


@pytest.mark.parametrize(
    ('parts', 'match'),
    [
        (dict(noun_prompt=None), 'expected a noun_prompt in .*training needs one; add it'),
        (dict(region_prompt=None), 'expected a region_prompt in .*region_embed needs one; add it'),
        (dict(text_segmenter=None), 'expected a text_segmenter in .*word_logits needs one; add it'),
        (dict(word_prompt=None), 'expected a word_prompt in .*text_embed needs one; add it'),
        (
            dict(losses=dict(area=dict(type='AreaLoss', of='own_mask', prior=0.1))),
            r"among \['features', 'nouns', .*'own_masks'.*\], but got 'own_mask'",
        ),
    ],
)
def test_a_loss_whose_part_is_missing_says_so(parts, match):
    with pytest.raises(ValueError, match=match):
        tiny_code(parts=parts).loss(images(2, 32, 32), caption_samples())


def test_the_image_segmenter_alone():
    """Thesis Table 4.2, first row."""
    fixed = dict(type='RegionHighlightingPrompt', image_size=32, learnable=False)
    losses = {k: v for k, v in LOSSES.items() if k not in ('word_segmentation', 'region_word')}
    parts = dict(text_segmenter=None, word_prompt=None, losses=losses, region_prompt=fixed)
    model = tiny_code(parts=parts)
    values = model.loss(images(2, 32, 32), caption_samples())
    sum(values.values()).backward()
    learning = {n for n, p in model.co_decomposition.named_parameters() if p.grad is not None}
    assert {n.split('.')[0] for n in learning} == {'noun_prompt', 'similarity_to_mask', 'losses'}


def test_words_of_a_text_tower_of_another_width_are_projected():
    wide = dict(type='CLIP', **{**SIZES, 'text_width': 48, 'text_heads': 3})
    model = tiny_code(backbone=wide)
    segmenter, hidden = model.co_decomposition.text_segmenter, torch.randn(2, 5, 48)
    weight, bias = segmenter.projection.weight, segmenter.projection.bias
    expected = F.normalize(segmenter.transformer(hidden) @ weight.T + bias, dim=-1)
    torch.testing.assert_close(segmenter(hidden), expected)
    values = model.loss(images(2, 32, 32), caption_samples())
    values['loss_word_segmentation'].backward()
    assert weight.grad.any()


def test_nouns_that_could_be_too_long_are_refused_at_once(model):
    """Not only when the first long noun comes along."""
    samples = caption_samples()
    for sample in samples:
        sample.set_field(F.pad(sample.noun_ids, (0, 4)), 'noun_ids')
        sample.set_metainfo(dict(text_lengths=dict(noun=4, guide=9)))
    with pytest.raises(ValueError, match=r'noun_ids of at most 20 tokens .* but got 24; set'):
        model.loss(images(2, 32, 32), samples)
    sample = SegDataSample(metainfo=dict(sample_key='00000.tar/3'))
    with pytest.raises(ValueError, match=r'00000\.tar/3 has no .*use the transforms SelectNouns'):
        model.loss(images(1, 32, 32), [sample])


@pytest.mark.parametrize('text', [True, False])
def test_decomposition_of_pairs(text):
    model = tiny_code(parts={} if text else dict(text_segmenter=None)).eval()
    samples, image = caption_samples(), images(2, 32, 40)
    results = model.decompose(image, samples)
    step = step_of(model, image, samples)
    soft = F.interpolate(step.own_masks, (32, 40), mode='bilinear', align_corners=False)
    for row, (slot, i) in enumerate(PAIRS):
        assert results[i].region_masks.shape == (len(SELECTED[i]), 32, 40)
        torch.testing.assert_close(results[i].region_masks[slot], soft[row, 0])
        assert ('word_masks' in results[i]) == text
        if text:
            torch.testing.assert_close(results[i].word_masks[slot], step.word_masks[row])
    assert not results[0].region_masks.requires_grad
