import pytest
import torch

from code_mm.ops import gather, mean_over_processes, rank, world_size


def test_one_process_is_identity():
    x = torch.randn(3, 2, requires_grad=True)
    assert (rank(), world_size()) == (0, 1)
    assert gather(x) is x
    assert mean_over_processes(x) is x


def _gather_and_differentiate(parts, weights, dtype):
    """Every process weighs the gathered rows its own way; the gradients must add up."""
    x = parts[rank()].to(dtype).t().contiguous().t().requires_grad_()  # not contiguous
    gathered = gather(x)
    (gathered * weights[rank()].to(dtype)).sum().backward()
    numbers = torch.arange(3) + 10 * rank()
    return rank(), world_size(), gathered.detach(), x.grad, gather(numbers)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_gather_in_two_processes(run_in_two_processes, dtype):
    if dtype == torch.bfloat16 and not hasattr(torch.amp, 'GradScaler'):
        pytest.skip('gloo of torch 2.1 does not know bfloat16')
    torch.manual_seed(0)
    parts = torch.randint(-4, 5, (2, 3, 4)).float()
    weights = torch.randint(-4, 5, (2, 6, 4)).float()
    results = run_in_two_processes(_gather_and_differentiate, parts, weights, dtype)
    for r, (its_rank, size, gathered, grad, numbers) in enumerate(results):
        assert (its_rank, size) == (r, 2)
        assert torch.equal(gathered.float(), parts.flatten(0, 1))
        assert torch.equal(grad.float(), weights.sum(0)[3 * r : 3 * r + 3])
        assert numbers.tolist() == [0, 1, 2, 10, 11, 12]


def _square_of_mean(values):
    x = values[rank()].clone().requires_grad_()
    mean = mean_over_processes(x)
    (mean**2).sum().backward()
    return mean.detach(), x.grad


@pytest.mark.parametrize('shape', [(), (3,)])
def test_mean_over_processes(run_in_two_processes, shape):
    values = torch.randn(2, *shape)
    expected = values.mean(0)
    for mean, grad in run_in_two_processes(_square_of_mean, values):
        torch.testing.assert_close(mean, expected)
        # Sum over both processes of d(mean^2)/dx = 2 * (2 mean * 1/2).
        torch.testing.assert_close(grad, 2 * expected)
