"""Golden case 11: every loss, their sum and all gradients from the reference checkpoint."""

import pytest
from released_model import (
    IMAGE_LOSSES,
    LOSS_NAMES,
    build_released_model,
    caption_samples,
    fix_noise,
    own_gradient,
    own_loss,
    own_name,
)

from code_mm.models.co_decomposition import CoDecompositionStep
from code_mm.ops import l2_normalize


def _batch(golden, nouns=None, noise=None, labels=None, text=True):
    """The training batch, and a model that uses its noise."""
    entry = golden.case('11_train_inputs')
    strings, tensors = entry['strings'], golden.tensors(entry)
    model = build_released_model(golden.index, golden.release, text=text)
    samples = caption_samples(
        golden.index,
        strings['captions'],
        nouns or strings['nouns_J_B'],
        strings['all_nouns_per_caption'],
        strings['kg_template_indices'],
        labels,
    )
    fix_noise(model, tensors['uniform_noise'] if noise is None else noise)
    return model, tensors['image'], samples


def _assert_losses(golden, values, expected, entry, names=LOSS_NAMES):
    assert set(values) == {LOSS_NAMES[name] for name in names}
    for name in names:
        golden.assert_close(own_loss(values, name), expected[f'loss.{name}'], entry, 'loss', name)
    golden.assert_close(sum(values.values()), expected['total'], entry, 'loss', 'total')


@pytest.mark.parametrize('phase', ['ust', 'finetune'])
def test_losses_and_gradients(golden, phase):
    entry = golden.case(f'11_train_{phase}')
    expected = golden.tensors(entry)
    model, image, samples = _batch(golden)
    values = model.loss(image, samples)
    _assert_losses(golden, values, expected, entry)

    if phase == 'ust':
        model.image_segmenter.tail.block.requires_grad_(False)
    sum(values.values()).backward()
    gradients = {k.removeprefix('grad.'): v for k, v in expected.items() if k.startswith('grad.')}
    assert gradients
    for name, value in gradients.items():
        golden.assert_close(own_gradient(model, name, value), value, entry, 'grad', name)
    if phase == 'finetune':
        names = {name for name, p in model.named_parameters() if p.grad is not None}
        assert names == {own_name(model, name) for name in entry['trainable']}
        assert names == {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('variant', ['J1', 'J3'])
def test_other_numbers_of_nouns(golden, variant):
    entry = golden.case(f'11_train_{variant}')
    expected = golden.tensors(entry)
    # The index gives no template indices here: those of the training batch hold.
    nouns = entry['strings']['nouns_J_B']
    noise, labels = expected['uniform_noise'], expected['pseudo_labels']
    model, image, samples = _batch(golden, nouns, noise, labels)
    _assert_losses(golden, model.loss(image, samples), expected, entry)


def test_without_text_decomposition(golden):
    entry = golden.case('11_image_only')
    expected = golden.tensors(entry)
    model, image, samples = _batch(golden, text=False)
    values = model.loss(image, samples)
    _assert_losses(golden, values, expected, entry, IMAGE_LOSSES)
    sum(values.values()).backward()
    for name, value in expected.items():
        if name.startswith('finetune.grad.'):
            name = name.removeprefix('finetune.grad.')
            golden.assert_close(own_gradient(model, name, value), value, entry, 'grad', name)


def test_intermediate_tensors(golden):
    entry = golden.case('11_train_intermediates')
    expected = golden.tensors(entry)
    inputs, (model, image, samples) = golden.tensors('11_train_inputs'), _batch(golden)
    parts, features = model.co_decomposition, model.pixel_embeddings(image)
    step = CoDecompositionStep(parts, model.backbone, image, features, samples)
    captions = step.captions
    golden.assert_close(captions.token_labels, inputs['pseudo_labels'], '11_train_inputs')
    golden.assert_close(captions.caption_ids, inputs['caption_ids'], '11_train_inputs')

    hidden = model.backbone.hidden_states(captions.caption_ids)
    highlighted = parts.region_prompt(image, step.hard_masks)
    found = dict(
        noun_emb=step.nouns,
        kg_emb=l2_normalize(step.guide),
        decoded_feat_map=step.features,
        pooled_image_emb=step.pooled,
        fg_image_emb_unnormalised=step.region_embed,
        text_decoder_out_LND=parts.text_segmenter.transformer(hidden).transpose(0, 1),
        text_logits_B_J1_L=step.word_logits,
        text_probs_JB_L=step.word_masks,
        highlighted_text_emb=l2_normalize(step.text_embed),
    )
    found['mask.soft_pos'], found['mask.hard_pos'] = step.own_masks, step.hard_masks
    found['mask.soft_all'] = step.masks.repeat(captions.nouns_per_caption, 1, 1, 1)
    for name, value in found.items():
        golden.assert_close(value, expected[name], entry, what=name)
    negative = expected['mask.soft_neg'].mean()
    golden.assert_close(step.negative_area, negative, entry, what='negative')
    for name, value in expected.items():
        if name.startswith('fg_image_rows_'):
            rows = [int(row) for row in name.removeprefix('fg_image_rows_').split('_')]
            golden.assert_close(highlighted[rows], value, entry, what=name)
