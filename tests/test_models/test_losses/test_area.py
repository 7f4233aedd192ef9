import pytest
import torch

from code_mm.models.losses import area_loss
from code_mm.ops import rank
from code_mm.registry import MODELS


def test_no_masks_cost_nothing():
    loss = area_loss(torch.zeros(0, 4, 4, requires_grad=True), 0.3)
    assert loss.item() == 0
    loss.backward()


def test_half_precision_averages_in_fp32():
    mask = torch.full((40, 100, 100), 0.25, dtype=torch.float16)  # an fp16 sum is infinite
    assert area_loss(mask, 0.0).item() == pytest.approx(0.25)


def _unsynced(masks):
    return area_loss(masks[rank()], 0.25, sync=False)


def test_without_sync_each_process_compares_alone(run_in_two_processes):
    results = run_in_two_processes(_unsynced, torch.tensor([[0.1, 0.1], [0.6, 0.6]]))
    assert [x.item() for x in results] == pytest.approx([0.15, 0.35])


def test_rejects_a_prior_that_is_no_share():
    with pytest.raises(ValueError, match=r'expected prior in \[0, 1\].*but got 25'):
        MODELS.build(dict(type='AreaLoss', of='own_masks', prior=25))
