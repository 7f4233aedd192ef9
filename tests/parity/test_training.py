"""Golden case 11: every loss, their sum and all gradients from the reference checkpoint."""

import pytest
import torch
from released_model import (
    IMAGE_LOSSES,
    LOSS_NAMES,
    build_released_model,
    caption_samples,
    convert_release_name,
    fix_noise,
    own_gradient,
    own_loss,
)

from code_mm.ops import l2_normalize, masked_pooling
from code_mm.structures import CaptionBatch


def _checkpoint(golden):
    return golden.path(golden.case('reference_checkpoint')['file'])


def _run(golden, nouns=None, noise=None, labels=None, text=True):
    """Loss values of the training batch and the model that made them."""
    entry = golden.case('11_train_inputs')
    strings, tensors = entry['strings'], golden.tensors(entry)
    model = build_released_model(golden.index, _checkpoint(golden), text=text)
    samples = caption_samples(
        golden.index,
        strings['captions'],
        nouns or strings['nouns_J_B'],
        strings['all_nouns_per_caption'],
        strings['kg_template_indices'],
        labels,
    )
    fix_noise(model, tensors['uniform_noise'] if noise is None else noise)
    return model, model.loss(tensors['image'], samples)


def _assert_losses(golden, values, expected, entry, names=LOSS_NAMES):
    assert set(values) == {LOSS_NAMES[name] for name in names}
    for name in names:
        golden.assert_close(own_loss(values, name), expected[f'loss.{name}'], entry, 'loss', name)
    golden.assert_close(sum(values.values()), expected['total'], entry, 'loss', 'total')


@pytest.mark.parametrize('phase', ['ust', 'finetune'])
def test_losses_and_gradients(golden, phase):
    entry = golden.case(f'11_train_{phase}')
    expected = golden.tensors(entry)
    model, values = _run(golden)
    _assert_losses(golden, values, expected, entry)

    if phase == 'ust':
        model.image_segmenter.block.requires_grad_(False)
    sum(values.values()).backward()
    gradients = {k.removeprefix('grad.'): v for k, v in expected.items() if k.startswith('grad.')}
    assert gradients
    for name, value in gradients.items():
        golden.assert_close(own_gradient(model, name, value), value, entry, 'grad', name)


def test_trainable_parameters_are_the_releases(golden):
    entry = golden.case('11_train_finetune')
    model, values = _run(golden)
    sum(values.values()).backward()
    names = {name for name, p in model.named_parameters() if p.grad is not None}
    assert names == {convert_release_name(name) for name in entry['trainable']}
    assert names == {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('variant', ['J1', 'J3'])
def test_other_numbers_of_nouns(golden, variant):
    entry = golden.case(f'11_train_{variant}')
    expected = golden.tensors(entry)
    # The index gives no template indices here: those of the training batch hold.
    nouns = entry['strings']['nouns_J_B']
    _, values = _run(
        golden, nouns=nouns, noise=expected['uniform_noise'], labels=expected['pseudo_labels']
    )
    _assert_losses(golden, values, expected, entry)


def test_without_text_decomposition(golden):
    entry = golden.case('11_image_only')
    expected = golden.tensors(entry)
    model, values = _run(golden, text=False)
    _assert_losses(golden, values, expected, entry, IMAGE_LOSSES)
    sum(values.values()).backward()
    for name, value in expected.items():
        if name.startswith('finetune.grad.'):
            name = name.removeprefix('finetune.grad.')
            golden.assert_close(own_gradient(model, name, value), value, entry, 'grad', name)


def test_intermediate_tensors(golden):
    entry = golden.case('11_train_intermediates')
    expected = golden.tensors(entry)
    strings = golden.case('11_train_inputs')['strings']
    inputs = golden.tensors('11_train_inputs')
    model = build_released_model(golden.index, _checkpoint(golden))
    samples = caption_samples(
        golden.index,
        strings['captions'],
        strings['nouns_J_B'],
        strings['all_nouns_per_caption'],
        strings['kg_template_indices'],
    )
    fix_noise(model, inputs['uniform_noise'])
    captions = CaptionBatch.from_samples(samples)
    golden.assert_close(captions.token_labels, inputs['pseudo_labels'], '11_train_inputs')
    golden.assert_close(captions.caption_ids, inputs['caption_ids'], '11_train_inputs')
    nouns = model.noun_prompt(captions.noun_ids, model.backbone.text)
    golden.assert_close(nouns, expected['noun_emb'], entry, what='nouns')
    guide = l2_normalize(model.backbone.encode_text(captions.guide_ids))
    golden.assert_close(guide, expected['kg_emb'], entry, what='guides')

    regions = model.segment_regions(model.pixel_embeddings(inputs['image']), nouns)
    n, b = len(nouns), len(samples)
    golden.assert_close(regions.features, expected['decoded_feat_map'], entry, what='features')
    golden.assert_close(regions.soft, expected['mask.soft_pos'], entry, what='soft')
    golden.assert_close(regions.hard, expected['mask.hard_pos'], entry, what='hard')
    soft_all = regions.soft_all.repeat(n // b, 1, 1, 1)
    golden.assert_close(soft_all, expected['mask.soft_all'], entry, what='soft_all')
    negative = expected['mask.soft_neg'].mean()
    golden.assert_close(regions.negative_mean(), negative, entry, what='negative')
    pooled = masked_pooling(regions.features, regions.soft_all).repeat(n // b, 1, 1)
    golden.assert_close(pooled, expected['pooled_image_emb'], entry, what='pooled')

    highlighted = model.region_prompt(inputs['image'], regions.hard)
    for name, value in expected.items():
        if name.startswith('fg_image_rows_'):
            rows = [int(row) for row in name.removeprefix('fg_image_rows_').split('_')]
            golden.assert_close(highlighted[rows], value, entry, what=name)
    embed = model.backbone.encode_image(highlighted)
    golden.assert_close(embed, expected['fg_image_emb_unnormalised'], entry, what='region embed')

    hidden = model.backbone.text.hidden_states(captions.caption_ids)
    decoded = model.text_segmenter.transformer(hidden).transpose(0, 1)
    golden.assert_close(decoded, expected['text_decoder_out_LND'], entry, what='text decoder')
    logits = model.segment_words(captions.caption_ids, nouns)
    golden.assert_close(logits, expected['text_logits_B_J1_L'], entry, what='word logits')
    masks = model.text_segmenter.masks(logits)
    golden.assert_close(masks, expected['text_probs_JB_L'], entry, what='word masks')
    text = l2_normalize(model.embed_highlighted(captions.caption_ids, logits))
    golden.assert_close(text, expected['highlighted_text_emb'], entry, what='highlighted text')
    assert torch.isfinite(text).all()
