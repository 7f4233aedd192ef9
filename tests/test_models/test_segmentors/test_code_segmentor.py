import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from tiny_model import (
    CONTEXTS,
    LOSSES,
    SELECTED,
    SIZES,
    caption_samples,
    code_config,
    images,
    tiny_clip,
    tiny_code,
)

from code_mm.models.heads import embed_class_names
from code_mm.registry import MODELS
from code_mm.structures import CaptionBatch
from code_mm.tokenizers import tokenize
from code_mm.vocabulary import EVALUATION_TEMPLATES

NAMES = ['star', 'boat', 'fish']
# Parts that learn, and what makes them learn.
STAGE_2 = (
    'noun_prompt.contexts',
    'image_segmenter.',
    'decode_head.similarity_to_mask.',
    'text_segmenter.',
    'region_prompt.image',
    'word_prompt.words',
    'losses.region_feature.',
    'losses.region_image.',
    'losses.region_word.',
)


def fix_noise(model, noise):
    """Hard masks draw these uniform numbers [n, 1, h, w]."""
    model.decode_head.similarity_to_mask.sample_noise = lambda similarity: noise


def uniform(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2))


def with_gradient(model):
    return {name for name, p in model.named_parameters() if p.grad is not None}


def without(*names, **replaced):
    return {**{k: v for k, v in LOSSES.items() if k not in names}, **replaced}


def test_losses_are_those_of_the_config_and_nothing_else():
    values = tiny_code().loss(images(2, 32, 32), caption_samples())
    assert set(values) == {f'loss_{name}' for name in LOSSES}
    assert all(value.shape == () and value.isfinite() for value in values.values())


def test_every_loss_from_its_parts():
    """The wiring of thesis Fig. 3.1, one step after another."""
    model = tiny_code()
    image, samples = images(2, 32, 40), caption_samples()
    fix_noise(model, uniform(4, 1, 16, 20))
    values = model.loss(image, samples)

    clip, captions = model.backbone, CaptionBatch.from_samples(samples)
    to_mask = model.decode_head.similarity_to_mask
    nouns = model.noun_prompt(captions.noun_ids, clip.text)
    features = model.image_segmenter(clip.visual.trunk(image))
    similarity = torch.einsum('bchw,mc->bmhw', features, nouns)
    soft = torch.sigmoid(to_mask.scale * similarity + to_mask.bias)
    own = torch.stack([similarity[pair % 2, pair] for pair in range(4)])[:, None]
    soft_own = torch.sigmoid(to_mask.scale * own + to_mask.bias)
    hard = to_mask.hard(own)
    regions = clip.encode_image(model.region_prompt(image, hard))
    logits = model.text_segmenter.logits(
        model.text_segmenter(clip.text.hidden_states(captions.caption_ids)), nouns
    )
    texts = model.embed_highlighted(captions.caption_ids, logits)

    def cosines(a, b):
        return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T

    def info_nce(name, a, b):
        scaled = model.losses[name].logit_scale.exp() * cosines(a, b)
        target = torch.arange(len(a))
        return (F.cross_entropy(scaled, target) + F.cross_entropy(scaled.T, target)) / 2

    guides = clip.encode_text(captions.guide_ids)
    expected = dict(
        knowledge_guided=8.0 * (1 - F.cosine_similarity(nouns, guides).mean()),
        region_image=0.1 * info_nce('region_image', regions, nouns),
        region_word=0.5 * info_nce('region_word', regions, texts),
        area=0.5 * (soft_own.mean() - 0.25).abs(),
        negative_area=0.05
        * torch.stack([soft[p % 2, q] for p in range(4) for q in range(4) if q != p]).mean(),
        feature_variation=(features[..., 1:] - features[..., :-1]).abs().mean()
        + (features[..., 1:, :] - features[..., :-1, :]).abs().mean(),
        mask_variation=(soft[..., 1:] - soft[..., :-1]).abs().mean()
        + (soft[..., 1:, :] - soft[..., :-1, :]).abs().mean(),
    )
    pooled = torch.einsum('bchw,bmhw->bmc', features, soft / (soft.sum((2, 3), True) + 1e-6))
    cosine = F.cosine_similarity(pooled.repeat(2, 1, 1), nouns[None], dim=-1)
    scaled = model.losses['region_feature'].logit_scale.exp() * cosine
    both = [F.cross_entropy(x, torch.arange(4)) for x in (scaled, scaled.T)]
    expected['region_feature'] = 0.1 * sum(both) / 2
    weight = torch.tensor([0.5, 1.0, 1.0])
    expected['word_segmentation'] = F.cross_entropy(
        logits, captions.token_labels, weight=weight, ignore_index=-1
    )
    for name, value in expected.items():
        torch.testing.assert_close(values[f'loss_{name}'], value, msg=lambda m, n=name: f'{n}: {m}')


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision_gives_nearly_the_same(dtype):
    image, samples, noise = images(2, 32, 32), caption_samples(), uniform(4, 1, 16, 16)
    model = tiny_code()
    fix_noise(model, noise)
    expected = model.loss(image, samples)
    with torch.autocast('cpu', dtype=dtype):
        values = model.loss(image, samples)
    sum(values.values()).backward()
    for name, value in values.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name], rtol=0.03, atol=1e-3)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_order_of_the_batch_does_not_matter():
    model = tiny_code()
    image, samples = images(2, 32, 32), caption_samples()
    noise = uniform(4, 1, 16, 16)
    fix_noise(model, noise)
    one = model.loss(image, samples)
    fix_noise(model, noise[[1, 0, 3, 2]])  # noun slot outermost
    two = model.loss(image.flip(0), samples[::-1])
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, msg=lambda m, n=name: f'{n}: {m}')


def test_hard_masks_decide_what_is_highlighted():
    """With a similarity far above the bias every mask is full: the image itself is encoded."""
    model = tiny_code()
    with torch.no_grad():
        model.decode_head.similarity_to_mask.bias.fill_(1000.0)
    seen = []
    encode = model.backbone.visual.encode
    model.backbone.visual.encode = lambda x: seen.append(x) or encode(x)
    image = images(2, 32, 32)
    model.loss(image, caption_samples())
    torch.testing.assert_close(seen[0], image.repeat(2, 1, 1, 1))


@pytest.mark.parametrize('count', [1, 3])
def test_other_numbers_of_nouns(count):
    nouns = ('star', 'grass', 'fish')
    samples = caption_samples(nouns=(nouns, nouns), selected=(nouns[:count],) * 2)
    values = tiny_code().loss(images(2, 32, 32), samples)
    assert all(value.isfinite() for value in values.values())


@pytest.mark.parametrize('name', LOSSES)
def test_any_loss_may_be_left_out(name):
    for losses in (without(name), without(**{name: None})):
        values = tiny_code(losses=losses).loss(images(2, 32, 32), caption_samples())
        assert set(values) == {f'loss_{other}' for other in LOSSES if other != name}


def test_the_image_segmenter_alone():
    """Thesis Table 4.2, first row."""
    model = tiny_code(
        text_segmenter=None,
        word_prompt=None,
        losses=without('word_segmentation', 'region_word'),
        region_prompt=dict(type='RegionHighlightingPrompt', image_size=32, learnable=False),
    )
    values = model.loss(images(2, 32, 32), caption_samples())
    assert set(values) == {f'loss_{name}' for name in without('word_segmentation', 'region_word')}
    sum(values.values()).backward()
    parts = {name.split('.')[0] for name in with_gradient(model)}
    assert parts == {'noun_prompt', 'image_segmenter', 'decode_head', 'losses'}


def test_regions_may_be_aligned_with_nouns():
    """Thesis §4.4: n in place of e^t, with or without a text segmenter."""
    model = tiny_code(alignment_text='noun')
    image, samples = images(2, 32, 32), caption_samples()
    fix_noise(model, uniform(4, 1, 16, 16))
    values = model.loss(image, samples)
    with torch.no_grad():
        model.losses['region_word'].logit_scale.copy_(model.losses['region_image'].logit_scale)
    values = model.loss(image, samples)
    torch.testing.assert_close(values['loss_region_word'] / 5, values['loss_region_image'])
    losses = without('word_segmentation')
    parts = dict(text_segmenter=None, word_prompt=None, losses=losses, alignment_text='noun')
    assert 'loss_region_word' in tiny_code(**parts).loss(image, samples)


@pytest.mark.parametrize(
    ('keys', 'match'),
    [
        (
            dict(losses=without(aera=dict(type='AreaLoss', prior=0.1))),
            r"expected losses among .*'area'.* but got \['aera'\]",
        ),
        (dict(alignment_text='words'), "'highlighted' or 'noun', but got 'words'"),
        (dict(text_segmenter=None, word_prompt=None), 'word_segmentation needs a text_segmenter'),
        (
            dict(text_segmenter=None, losses=without('word_segmentation')),
            'region_word on highlighted texts needs a text_segmenter and a word_prompt',
        ),
        (dict(word_prompt=None), "word_prompt; add them, drop the loss, or set alignment_text='no"),
        (
            dict(backbone={**code_config().backbone, 'text_width': 48, 'text_heads': 3}),
            'as wide as the joint embedding.* but got 48 and 32',
        ),
    ],
)
def test_parts_that_do_not_go_together(keys, match):
    with pytest.raises(ValueError, match=match):
        MODELS.build(code_config(**keys))


def test_sizes_that_follow_from_clip_need_no_keys():
    model = MODELS.build(code_config())
    assert model.decode_head.in_channels == 32
    assert model.image_segmenter.proj.shape == (48, 32)
    assert model.word_prompt.words.shape == (24, 32)
    assert model.noun_prompt.contexts.shape == (CONTEXTS, 32)
    assert model.text_segmenter.transformer.resblocks[0].attn.heads == 2


def test_a_wider_text_tower_without_text_segmenter():
    backbone = {**code_config().backbone, 'text_width': 48, 'text_heads': 3}
    model = tiny_code(
        backbone=backbone,
        text_segmenter=None,
        word_prompt=None,
        losses=without('word_segmentation', 'region_word'),
    )
    values = model.loss(images(2, 32, 32), caption_samples())
    assert all(value.isfinite() for value in values.values())


def test_init_weights_copies_clip_into_what_learns(tmp_path):
    clip = tiny_clip(seed=7)
    torch.save(clip.state_dict(), tmp_path / 'clip.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'clip.pth'))
    model = MODELS.build(code_config(backbone={**code_config().backbone, 'init_cfg': init_cfg}))
    model.init_weights()
    assert torch.equal(model.backbone.visual.proj, clip.visual.proj)
    assert torch.equal(model.image_segmenter.proj, clip.visual.proj)
    last = clip.visual.transformer.resblocks[-1].state_dict()
    copied = model.image_segmenter.block.state_dict()
    assert all(torch.equal(copied[key], value) for key, value in last.items())
    ids = tokenize(['a photo of x'], 24)[0, 1 : 1 + CONTEXTS]
    assert torch.equal(model.noun_prompt.contexts, clip.text.token_embedding.weight[ids])
    # gates are closed: before training CoDe sees what MaskCLIP sees
    image = images(1, 32, 32)
    dense = F.normalize(clip(image)[0], dim=1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(model.extract_feat(image)[0], dense)


@pytest.mark.parametrize('stage', [1, 2])
def test_what_learns_in_each_stage(stage):
    model = tiny_code()
    if stage == 1:
        model.image_segmenter.block.requires_grad_(False)
    sum(model.loss(images(2, 32, 32), caption_samples()).values()).backward()
    learning = with_gradient(model)
    expected = {name for name, _ in model.named_parameters() if name.startswith(STAGE_2)}
    if stage == 1:
        expected = {name for name in expected if not name.startswith('image_segmenter.block.')}
    assert learning == expected
    assert learning == {name for name, p in model.named_parameters() if p.requires_grad}
    # and every one of them really gets something
    assert all(p.grad is None or p.grad.any() for p in model.parameters())


def test_clip_never_moves():
    model = tiny_code().train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    own = {n: p.clone() for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        sum(model.loss(images(2, 32, 32), caption_samples()).values()).backward()
        optimizer.step()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, before[key]), key
    for name, parameter in model.named_parameters():
        if name in own:
            assert not torch.equal(parameter, own[name]), name


def test_gradients_of_the_text_losses_do_not_reach_the_image_segmenter():
    model = tiny_code()
    values = model.loss(images(2, 32, 32), caption_samples())
    values['loss_word_segmentation'].backward()
    parts = {name.split('.')[0] for name in with_gradient(model)}
    assert parts == {'text_segmenter', 'noun_prompt'}


@pytest.mark.parametrize('text', [True, False])
def test_decomposition_of_pairs(text):
    keys = dict() if text else dict(text_segmenter=None, word_prompt=None, alignment_text='noun')
    model = tiny_code(losses=LOSSES if text else without('word_segmentation'), **keys).eval()
    image, samples = images(2, 32, 40), caption_samples()
    captions = CaptionBatch.from_samples(samples)
    nouns = model.noun_prompt(captions.noun_ids, model.backbone.text)
    soft = model.segment_regions(model.pixel_embeddings(image), nouns).soft
    soft = F.interpolate(soft, (32, 40), mode='bilinear', align_corners=False)
    results = model.decompose(image, samples)
    for i, result in enumerate(results):
        assert result.region_masks.shape == (2, 32, 40)
        assert not result.region_masks.requires_grad
        for j in range(2):
            torch.testing.assert_close(result.region_masks[j], soft[j * 2 + i, 0])
        assert ('word_masks' in result) == text
        if text:
            logits = model.segment_words(captions.caption_ids, nouns)
            words = model.text_segmenter.masks(logits)
            for j in range(len(SELECTED[i])):
                torch.testing.assert_close(result.word_masks[j], words[j * 2 + i])


def test_class_names_are_embedded_with_the_learnt_contexts():
    model = tiny_code(decode_head=dict(type='ZeroShotHead', knowledge_preserving=dict(weight=0.3)))
    model.eval().set_class_names(NAMES)
    text = model.backbone.text
    head = model.decode_head
    torch.testing.assert_close(head.class_embeddings, model.noun_prompt(tokenize(NAMES, 20), text))
    frozen = embed_class_names(text, NAMES, EVALUATION_TEMPLATES)
    torch.testing.assert_close(head.frozen_class_embeddings, frozen)
    assert not head.class_embeddings.requires_grad
    with pytest.raises(ValueError, match="list of non-empty class names, but got 'star'"):
        model.set_class_names('star')


def test_prediction():
    """Soft masks on four times the patch grid, the frozen branch mixed in, bilinear resizing."""
    model = tiny_code(
        decode_head=dict(
            type='ZeroShotHead',
            knowledge_preserving=dict(weight=0.3),
            background_threshold=0.4,
        )
    ).eval()
    model.set_class_names(['background', *NAMES])
    image = images(1, 24, 32)
    (result,) = model.predict(image)
    head, trunk = model.decode_head, model.backbone.visual.trunk(image)
    to_mask = head.similarity_to_mask

    def cosine(features, embed):
        return torch.einsum('bchw,nc->bnhw', F.normalize(features, dim=1), embed)

    own = cosine(model.image_segmenter(trunk), head.class_embeddings)
    own = torch.sigmoid(to_mask.scale * own + to_mask.bias)
    kept = cosine(model.backbone.visual.dense(trunk), head.frozen_class_embeddings)
    kept = F.interpolate(torch.sigmoid(10 * (kept - 0.25)), (12, 16), mode='bilinear')
    scores = F.interpolate(0.3 * kept + 0.7 * own, (24, 32), mode='bilinear')[0]
    scores = torch.cat([torch.full((1, 24, 32), 0.4), scores])
    torch.testing.assert_close(result.seg_logits.data, scores)
    assert torch.equal(result.pred_sem_seg.data[0], scores.argmax(0))


def test_the_three_modes_of_an_mmengine_model():
    model = tiny_code().eval()
    model.set_class_names(NAMES)
    image, samples = images(2, 32, 32), caption_samples()
    assert set(model(image, samples, mode='loss')) == {f'loss_{name}' for name in LOSSES}
    logits = model(image, mode='tensor')
    scores = model.inference(image, [dict(img_shape=(32, 32), ori_shape=(32, 32))] * 2)
    expected = F.interpolate(torch.sigmoid(logits), (32, 32), mode='bilinear', align_corners=False)
    torch.testing.assert_close(scores, expected)
    results = model(image, mode='predict')
    assert [tuple(r.pred_sem_seg.data.shape) for r in results] == [(1, 32, 32)] * 2


def test_cutting_the_padding_of_texts_changes_nothing():
    model, image = tiny_code(), images(2, 32, 32)
    fix_noise(model, uniform(4, 1, 16, 16))
    whole = model.loss(image, caption_samples())
    samples = caption_samples()
    for sample in samples:
        ends = {
            name: int(sample.get(field).argmax(-1).max()) + 1
            for name, field in (
                ('noun', 'noun_ids'),
                ('guide', 'guide_ids'),
                ('caption', 'caption_ids'),
            )
        }
        sample.set_metainfo(dict(text_lengths=ends))
    captions = CaptionBatch.from_samples(samples)
    assert captions.noun_ids.shape[1] < 20
    lengths, encode = [], model.backbone.text.encode_words

    def spy(words, end):
        lengths.append(words.shape[1])
        return encode(words, end)

    model.backbone.text.encode_words = spy
    losses = model.loss(image, samples)
    assert lengths[-1] == captions.caption_length < 24
    for name, value in losses.items():
        torch.testing.assert_close(value, whole[name], msg=lambda m, n=name: f'{n}: {m}')


def test_nouns_that_could_be_too_long_are_refused_at_once():
    """Not only when the first long noun comes along."""
    samples = caption_samples()
    for sample in samples:
        padded = F.pad(sample.noun_ids, (0, 4))
        sample.set_field(padded, 'noun_ids')
        sample.set_metainfo(dict(text_lengths=dict(noun=4, guide=9)))
    with pytest.raises(ValueError, match=r'noun_ids of at most 20 tokens .* but got 24; set'):
        tiny_code().loss(images(2, 32, 32), samples)


def test_samples_without_captions_are_named():
    sample = SegDataSample(metainfo=dict(sample_key='00000.tar/3'))
    with pytest.raises(ValueError, match=r'00000\.tar/3 has no .*use the transforms SelectNouns'):
        tiny_code().loss(images(1, 32, 32), [sample])


def test_learnable_scales_start_as_clips():
    model = MODELS.build(code_config())
    for name in ('region_feature', 'region_image', 'region_word'):
        assert model.losses[name].logit_scale.item() == pytest.approx(math.log(1 / 0.07))


def test_a_class_name_may_fill_the_context_but_not_more():
    model = tiny_code()
    room = SIZES['context_length'] - CONTEXTS - 2
    fits = ' '.join(['cat'] * room)
    model.set_class_names(['dog', f'dog|{fits}'])
    with pytest.raises(ValueError, match=rf"'cat cat .*takes {room + 1} tokens where {room} fit"):
        model.set_class_names(['dog', f'dog|cat {fits}'])


def test_templates_of_class_names_take_room_too():
    mix = dict(weight=0.3, templates=['a very long and winding photo of a {}.'])
    model = tiny_code(decode_head=dict(type='ZeroShotHead', knowledge_preserving=mix))
    phrase = ' '.join(['cat'] * (SIZES['context_length'] - 2 - CONTEXTS))  # fits behind contexts
    with pytest.raises(ValueError, match=r"'a very long .* shorter phrase"):
        model.set_class_names(['dog', phrase])
