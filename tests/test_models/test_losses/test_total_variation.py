import pytest
import torch

from code_mm.models.losses import total_variation
from code_mm.registry import MODELS


def test_equals_loops_over_neighbours():
    x = torch.randn(2, 3, 4, 5)
    rows = [abs(x[..., i + 1, j] - x[..., i, j]).mean() for i in range(3) for j in range(5)]
    columns = [abs(x[..., i, j + 1] - x[..., i, j]).mean() for i in range(4) for j in range(4)]
    expected = sum(rows) / len(rows) + sum(columns) / len(columns)
    torch.testing.assert_close(total_variation(x), expected)


def test_ramps_have_their_slope_and_flat_maps_none():
    ramp = torch.arange(4.0)[:, None] * 0.5 + torch.arange(6.0) * 2
    assert total_variation(ramp).item() == pytest.approx(2.5)
    assert total_variation(torch.ones(2, 3, 4)).item() == 0


def test_an_axis_of_one_pixel_adds_nothing():
    x = torch.tensor([[[0.0, 1.0, 3.0]]], requires_grad=True)
    loss = total_variation(x)
    assert loss.item() == pytest.approx(1.5)
    loss.backward()
    assert total_variation(torch.ones(1, 1)).item() == 0


def test_half_precision_sums_in_fp32():
    x = torch.zeros(1, 400, 400, dtype=torch.float16)
    x[..., ::2] = 1  # the sum of 159 600 ones overflows fp16
    assert total_variation(x).item() == pytest.approx(1)


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (3, 1, 4), (4, 1), (1, 1)])
def test_gradient_is_that_of_the_plain_formulation(shape):
    own = torch.randn(shape, dtype=torch.float64)
    own.view(-1)[::3] = 0.5  # equal neighbours, where the gradient is zero
    plain = own.clone().requires_grad_()
    own.requires_grad_()
    (3 * total_variation(own)).backward()
    differences = (d for d in (plain.diff(dim=-1), plain.diff(dim=-2)) if d.numel())
    (3 * sum((d.abs().mean() for d in differences), 0 * plain.sum())).backward()
    torch.testing.assert_close(own.grad, plain.grad)


def test_half_precision_gets_a_gradient_of_its_type():
    x = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float16, requires_grad=True)
    (1024 * total_variation(x)).backward()
    assert x.grad.dtype == torch.float16
    assert x.grad.tolist() == [[-512, 0, 512]]


def test_module_weighs_the_loss():
    x = torch.randn(2, 4, 4)
    module = MODELS.build(dict(type='TotalVariationLoss', loss_weight=0.5))
    torch.testing.assert_close(module(x), 0.5 * total_variation(x))


def test_two_processes(assert_two_processes_equal_one):
    assert_two_processes_equal_one(dict(type='TotalVariationLoss'), torch.randn(4, 3, 5, 6))
