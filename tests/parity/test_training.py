"""Golden cases 11, 15, 16 and 04_full_2proc: losses, gradients, steps; one process and two."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from released_model import (
    IMAGE_LOSSES,
    LOSS_NAMES,
    build_released_model,
    caption_samples,
    fix_noise,
    own_name,
)
from tiny_configs import load

from code_mm.engine.every_run import fuse_where_possible
from code_mm.models.co_decomposition import CoDecompositionStep
from code_mm.ops import l2_normalize, rank

BLOCK = 'image_segmenter.tail.block.'


def batch(golden, nouns=None, noise=None, text=True):
    """The training batch, and a model that uses its noise."""
    entry = golden.case('11_train_inputs')
    strings, tensors = entry['strings'], golden.tensors(entry)
    model = build_released_model(golden.index, golden.release, text=text)
    all_nouns, templates = strings['all_nouns_per_caption'], strings['kg_template_indices']
    inputs = strings['captions'], nouns or strings['nouns_J_B'], all_nouns, templates
    fix_noise(model, tensors['uniform_noise'] if noise is None else noise)
    return model, tensors['image'], caption_samples(golden.index, *inputs)


def gradients_of(model, values):
    sum(values.values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_losses(golden, values, expected, entry, names=LOSS_NAMES):
    assert set(values) == {LOSS_NAMES[name] for name in names}
    for name in names:
        reference = expected[f'loss.{name}']
        golden.assert_close(values[LOSS_NAMES[name]], reference, entry, 'loss', name)
    golden.assert_close(sum(values.values()), expected['total'], entry, 'loss', 'total')


def assert_gradients(golden, model, gradients, entry, below):
    expected = golden.tensors(entry, below)
    assert expected
    for name, value in expected.items():
        found = gradients[own_name(model, name)].reshape(value.shape)
        golden.assert_close(found, value, entry, 'grad', name)


@pytest.mark.parametrize('phase', ['ust', 'finetune'])
def test_losses_and_gradients(golden, phase):
    entry = golden.case(f'11_train_{phase}')
    model, image, samples = batch(golden)
    values = model.loss(image, samples)
    assert_losses(golden, values, golden.tensors(entry), entry)
    model.image_segmenter.tail.block.requires_grad_(phase != 'ust')
    gradients = gradients_of(model, values)
    assert_gradients(golden, model, gradients, entry, 'grad.')
    if phase == 'finetune':
        assert gradients.keys() == {own_name(model, name) for name in entry['trainable']}
        learning = {name for name, p in model.named_parameters() if p.requires_grad}
        assert gradients.keys() == learning


@pytest.mark.parametrize('variant', ['J1', 'J3'])
def test_other_numbers_of_nouns(golden, variant):
    entry = golden.case(f'11_train_{variant}')
    expected = golden.tensors(entry)
    # The index gives no template indices here: those of the training batch hold.
    nouns = entry['strings']['nouns_J_B']
    model, image, samples = batch(golden, nouns, expected['uniform_noise'])
    labels = torch.stack([sample.token_labels for sample in samples])
    assert torch.equal(labels, expected['pseudo_labels'])
    assert_losses(golden, model.loss(image, samples), expected, entry)


def test_without_text_decomposition(golden):
    entry = golden.case('11_image_only')
    model, image, samples = batch(golden, text=False)
    values = model.loss(image, samples)
    assert_losses(golden, values, golden.tensors(entry), entry, IMAGE_LOSSES)
    assert_gradients(golden, model, gradients_of(model, values), entry, 'finetune.grad.')


def test_intermediate_tensors(golden):
    entry = golden.case('11_train_intermediates')
    expected = golden.tensors(entry)
    inputs, (model, image, samples) = golden.tensors('11_train_inputs'), batch(golden)
    parts, features = model.co_decomposition, model.pixel_embeddings(image)
    step = CoDecompositionStep(parts, model.backbone, image, features, samples)
    captions = step.captions
    labels = golden.tensors('07_pseudo_labels')['training_batch_labels']
    for expected_labels in (inputs['pseudo_labels'], labels):
        assert torch.equal(captions.token_labels, expected_labels)
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
    for name, value in golden.tensors(entry, 'fg_image_rows_').items():
        rows = [int(row) for row in name.split('_')]
        golden.assert_close(highlighted[rows], value, entry, what=name)


# --- two processes


def inputs_of_rank(index, strings, tensors, r):
    keys = 'captions', 'nouns_J_B', 'all_nouns', 'kg_template_indices'
    samples = caption_samples(index, *(strings[r][key] for key in keys))
    return samples, tensors[f'rank{r}.image'], tensors[f'rank{r}.uniform_noise']


def losses_and_gradients(index, checkpoint, strings, tensors, released):
    """Of this rank, with the release's per-process forms or code_mm's."""
    model = build_released_model(index, checkpoint, sync=not released)
    samples, image, noise = inputs_of_rank(index, strings, tensors, rank())
    fix_noise(model, noise, columns=rank() * len(noise))
    values = model.loss(image, samples)
    gradients = gradients_of(model, values)
    return {name: value.detach() for name, value in values.items()}, gradients


@pytest.fixture
def in_two_processes(golden, run_in_two_processes):
    """``in_two_processes(released)`` -> the golden inputs, a model, results of both ranks."""

    def run(released):
        entry = golden.case('04_full_2proc')
        index, *rest = inputs = golden.index, entry['strings'], golden.tensors(entry)
        keys = index, golden.release, *rest, released
        results = run_in_two_processes(losses_and_gradients, *keys)
        return entry, inputs, build_released_model(index, golden.release), results

    return run


def mean(results, part, name):
    return (results[0][part][name] + results[1][part][name]) / 2


def test_released_forms_of_two_processes(golden, in_two_processes):
    entry, _, model, results = in_two_processes(released=True)
    for r, (values, gradients) in enumerate(results):
        assert_losses(golden, values, golden.tensors(entry, f'rank{r}.'), entry)
        assert_gradients(golden, model, gradients, entry, f'rank{r}.grad_local.')
    for name, norm in entry['grad_mean_norms'].items():
        found = mean(results, 1, own_name(model, name)).norm()
        torch.testing.assert_close(found, torch.tensor(norm), rtol=1e-3, atol=1e-6)


def test_two_processes_equal_one_with_the_joined_batch(in_two_processes):
    _, inputs, model, results = in_two_processes(released=False)
    samples, images, noises = zip(*(inputs_of_rank(*inputs, r) for r in range(2)), strict=True)
    # Own nouns only, reordered from [rank, noun, image] to [noun, rank and image].
    n, pair = len(noises[0]), torch.arange(len(noises[0]))
    own = [noise[pair, pair + r * n, None] for r, noise in enumerate(noises)]
    own = torch.cat([noise.unflatten(0, (-1, len(samples[0]))) for noise in own], dim=1)
    model.similarity_to_mask.sample_noise = lambda similarity: own.flatten(0, 1)

    values = model.loss(torch.cat(images), samples[0] + samples[1])
    for name, value in values.items():
        found = mean(results, 0, name)
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-6, msg=name)
    for name, gradient in gradients_of(model, values).items():
        error = (mean(results, 1, name) - gradient).norm() / gradient.norm().clamp_min(1e-6)
        assert error < 1e-3, f'{name}: {error}'


# --- schedule, weight-decay groups and six optimiser steps


@pytest.fixture
def schedule():
    """The schedule of our main configs, in full precision."""
    config = load('_base_/schedules/code_50k.py')
    fuse_where_possible(config.optim_wrapper).type = 'OptimWrapper'
    return config


def schedulers_of(config, optim_wrapper):
    return [
        PARAM_SCHEDULERS.build(dict(cfg, optimizer=optim_wrapper)) for cfg in config.param_scheduler
    ]


def test_main_schedule_has_the_releases_constants(golden, schedule):
    case = golden.index['case15']
    optimizer = schedule.optim_wrapper.optimizer
    for key, value in dict(case['adamw'], lr=case['base_lr']).items():
        assert optimizer[key] == pytest.approx(value), key
    assert schedule.optim_wrapper.clip_grad.max_norm == case['clip_grad_norm']
    assert schedule.train_cfg.max_iters == case['total']
    parameter = torch.nn.Linear(1, 1)
    wrapper = build_optim_wrapper(parameter, schedule.optim_wrapper)
    schedulers = schedulers_of(schedule, wrapper)
    expected = {int(step): value for step, value in case['lr_used_at_step'].items()}
    for step in range(max(expected) + 1):
        if step in expected:
            assert wrapper.param_groups[0]['lr'] == pytest.approx(expected[step], rel=1e-6), step
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize('phase', ['phase1_decoder_only', 'phase2'])
def test_weight_decay_groups(golden, schedule, phase):
    model = build_released_model(golden.index, golden.release)
    wrapper = build_optim_wrapper(model, schedule.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    decay = {
        names[id(p)]: group['weight_decay']
        for group in wrapper.param_groups
        for p in group['params']
        if p.requires_grad and not (phase.startswith('phase1') and BLOCK in names[id(p)])
    }
    groups = golden.index['case15']['trainable_parameters_by_weight_decay'][phase]
    rate = golden.index['case15']['adamw']['weight_decay']
    expected = {own_name(model, name): rate for name in groups['decay_0p05']}
    expected |= {own_name(model, name): 0.0 for name in groups['decay_0']}
    assert decay == expected


def test_six_optimiser_steps(golden, schedule):
    entry = golden.case('16_train_steps')
    tensors, constants = golden.tensors(entry), entry['constants']
    model = build_released_model(golden.index, golden.release)
    schedule.optim_wrapper.optimizer.update(
        lr=constants['base_lr'], eps=constants['eps'], weight_decay=constants['weight_decay']
    )
    schedule.optim_wrapper.clip_grad.max_norm = constants['clip']
    warmup, total = constants['warmup'], constants['total']
    schedule.param_scheduler[0].end = warmup + 1
    schedule.param_scheduler[1].update(
        T_max=total - warmup, eta_min=constants['min_lr'], begin=warmup, end=total + 1
    )
    wrapper = build_optim_wrapper(model, schedule.optim_wrapper)
    schedulers = schedulers_of(schedule, wrapper)

    for step in entry['steps']:
        i = step['step']
        model.image_segmenter.tail.block.requires_grad_(step['phase'] == 2)
        assert wrapper.param_groups[0]['lr'] == pytest.approx(step['lr'], rel=1e-9)
        samples = caption_samples(
            golden.index,
            step['captions'],
            step['nouns_J_B'],
            None,
            step['kg_template_indices'],
            tensors[f'step{i}.pseudo_labels'],
        )
        fix_noise(model, tensors[f'step{i}.uniform_noise'])
        values = model.loss(tensors[f'step{i}.image'], samples)
        limits = {'atol': 0.0, **entry['tolerance']['total']}
        total_loss = sum(values.values())
        torch.testing.assert_close(total_loss, tensors[f'step{i}.total'], **limits)
        for name, own in LOSS_NAMES.items():
            expected = tensors[f'step{i}.loss.{name}']
            torch.testing.assert_close(values[own], expected, rtol=1e-4, atol=1e-5)
        wrapper.update_params(total_loss)
        for scheduler in schedulers:
            scheduler.step()
