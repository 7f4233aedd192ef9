"""Losses in half precision over many steps, on random images and changing nouns."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from tiny_model import CAPTIONS, NOUNS, caption_samples, images, tiny_code

STEPS = 200


@lru_cache
def train(dtype):
    """Losses of every step, and how many steps the scaler skipped."""
    model = tiny_code().train()
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=1e-3, weight_decay=0.05, eps=1e-6)
    scaler = torch.amp.GradScaler('cpu', enabled=dtype == torch.float16)
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    history, skipped = [], 0
    for index in range(STEPS):
        selected = [list(random.permutation(nouns)[:2]) for nouns in NOUNS]
        samples = caption_samples(CAPTIONS, NOUNS, selected)
        with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
            losses = model.loss(3 * images(2, 32, 32, seed=index), samples)
        history.append({name: value.item() for name, value in losses.items()})
        optimizer.zero_grad()
        scaler.scale(sum(losses.values())).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(learnt, 5.0)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        skipped += scaler.get_scale() < before
    assert all(p.isfinite().all() for p in learnt)
    return history, skipped


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_losses_stay_finite_and_fall_as_in_full_precision(dtype):
    full, _ = train(torch.float32)
    half, skipped = train(dtype)
    assert all(np.isfinite(value) for losses in half for value in losses.values())
    assert skipped < 20  # the scaler finds its scale, then hardly a step is lost
    totals = [np.array([sum(losses.values()) for losses in run]) for run in (full, half)]
    ends = [total[-50:].mean() for total in totals]
    assert ends[1] < totals[1][:10].mean()
    assert ends[1] == pytest.approx(ends[0], rel=0.1)
