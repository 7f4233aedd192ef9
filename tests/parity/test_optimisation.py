"""Golden cases 15 and 16: schedule, weight-decay groups and six optimiser steps."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from released_model import (
    LOSS_NAMES,
    build_released_model,
    caption_samples,
    fix_noise,
    own_name,
)
from tiny_configs import load

from code_mm.engine.every_run import fuse_where_possible

BLOCK = 'image_segmenter.tail.block.'


@pytest.fixture
def schedule():
    """The schedule of our main configs, in full precision."""
    config = load('_base_/schedules/code_50k.py')
    fuse_where_possible(config.optim_wrapper).type = 'OptimWrapper'
    return config


def _schedulers(config, optim_wrapper):
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
    schedulers = _schedulers(schedule, wrapper)
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
        if p.requires_grad and not (phase.startswith('phase1') and names[id(p)].startswith(BLOCK))
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
    schedulers = _schedulers(schedule, wrapper)

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
