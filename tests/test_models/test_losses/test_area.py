import pytest
import torch

from code_mm.models.losses import area_loss
from code_mm.ops import rank
from code_mm.registry import MODELS


def test_mean_comes_before_the_absolute_value():
    mask = torch.stack((torch.zeros(2, 2), torch.ones(2, 2)))  # mean .5
    assert area_loss(mask, 0.5).item() == 0
    assert area_loss(mask, 0.2).item() == pytest.approx(0.3)
    assert area_loss(mask, 0.9).item() == pytest.approx(0.4)


@pytest.mark.parametrize(('prior', 'sign'), [(0.1, 1), (0.9, -1)])
def test_gradient_spreads_evenly(prior, sign):
    mask = torch.full((2, 3, 4), 0.5, requires_grad=True)
    area_loss(mask, prior).backward()
    torch.testing.assert_close(mask.grad, torch.full_like(mask, sign / 24))


def test_statistics_may_stand_for_the_masks():
    masks = torch.rand(3, 3, 4, 5)
    off_diagonal = ~torch.eye(3, dtype=torch.bool)
    expected = area_loss(masks[off_diagonal], 0.1)
    torch.testing.assert_close(area_loss(masks.mean((-2, -1))[off_diagonal], 0.1), expected)
    torch.testing.assert_close(area_loss(masks[off_diagonal].mean(), 0.1), expected)


def test_no_masks_cost_nothing():
    empty = torch.zeros(0, 4, 4, requires_grad=True)
    loss = area_loss(empty, 0.3)
    assert loss.item() == 0
    loss.backward()


def test_half_precision_averages_in_fp32():
    mask = torch.full((40, 100, 100), 0.25, dtype=torch.float16)  # an fp16 sum is infinite
    assert area_loss(mask, 0.0).item() == pytest.approx(0.25)


def test_module_weighs_the_loss():
    module = MODELS.build(dict(type='AreaLoss', prior=0.25, loss_weight=0.5))
    assert module(torch.full((2, 2), 0.75)).item() == pytest.approx(0.25)


@pytest.fixture
def unlike_halves():
    """Mean areas .1 and .6 on the two processes: the prior .25 lies between, the mean above."""
    return torch.cat((torch.full((2, 3, 3), 0.1), torch.full((2, 3, 3), 0.6)))


def test_two_processes_on_both_sides_of_the_prior(assert_two_processes_equal_one, unlike_halves):
    assert_two_processes_equal_one(dict(type='AreaLoss', prior=0.25), unlike_halves)


def _unsynced(masks):
    return area_loss(masks[2 * rank() : 2 * rank() + 2], 0.25, sync=False)


def test_without_sync_each_process_compares_alone(run_in_two_processes, unlike_halves):
    results = run_in_two_processes(_unsynced, unlike_halves)
    assert [x.item() for x in results] == pytest.approx([0.15, 0.35])


def test_rejects_a_prior_that_is_no_share():
    with pytest.raises(ValueError, match=r'expected prior in \[0, 1\].*but got 25'):
        MODELS.build(dict(type='AreaLoss', prior=25))
