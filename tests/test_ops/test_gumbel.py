import math

import pytest
import torch

from code_mm.ops import gumbel_sigmoid, logistic_noise


def test_matches_closed_form():
    logits = torch.tensor([-2.0, 0.3, 1.5])
    uniform = torch.tensor([0.1, 0.5, 0.7])
    expected = [
        1 / (1 + math.exp(-(x + math.log(u / (1 - u))) / 0.5))
        for x, u in zip(logits.tolist(), uniform.tolist(), strict=True)
    ]
    soft = gumbel_sigmoid(logits, tau=0.5, hard=False, noise=uniform)
    torch.testing.assert_close(soft, torch.tensor(expected))
    hard = gumbel_sigmoid(logits, tau=0.5, noise=uniform)
    assert hard.tolist() == [float(p > 0.5) for p in expected]


def test_straight_through_gradient_is_that_of_the_noisy_sigmoid():
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    uniform = torch.rand(4, 5, dtype=torch.float64)
    weights = torch.randn(4, 5, dtype=torch.float64)
    (gumbel_sigmoid(logits, 0.7, True, uniform) * weights).sum().backward()
    y = gumbel_sigmoid(logits.detach(), 0.7, False, uniform)
    torch.testing.assert_close(logits.grad, weights * y * (1 - y) / 0.7)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_and_exactly_binary(dtype):
    logits = torch.tensor([-60.0, -0.4, 0.0, 0.4, 60.0], dtype=dtype, requires_grad=True)
    uniform = torch.tensor([0.0, 0.0005, 0.9999, 1.0, 1.0], dtype=dtype)
    mask = gumbel_sigmoid(logits, noise=uniform)
    mask.sum().backward()
    assert mask.dtype == dtype
    assert mask.tolist() == [0, 0, 1, 1, 1]
    assert logits.grad.isfinite().all()


def test_noise_is_finite_and_antisymmetric_at_the_ends():
    noise = logistic_noise(torch.tensor([0.0, 0.25, 0.75, 1.0]))
    assert noise.isfinite().all()
    torch.testing.assert_close(noise, -noise.flip(0))


def test_share_of_ones_is_the_sigmoid_of_the_logit():
    generator = torch.Generator().manual_seed(0)
    mask = gumbel_sigmoid(torch.full((20000,), -1.0), generator=generator)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    # Standard deviation of the mean is .003.
    assert mask.mean().item() == pytest.approx(1 / (1 + math.e), abs=0.012)


def test_generator_makes_it_repeatable():
    logits = torch.zeros(50)
    first, second = (
        gumbel_sigmoid(logits, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, gumbel_sigmoid(logits))


def test_rejects_bad_arguments():
    with pytest.raises(ValueError, match='expected tau > 0, but got 0'):
        gumbel_sigmoid(torch.zeros(2), tau=0)
    with pytest.raises(ValueError, match=r'shape \(2,\).*but got \(3,\)'):
        gumbel_sigmoid(torch.zeros(2), noise=torch.rand(3))
