import pytest
import torch

from code_mm.models.losses import total_variation


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (3, 1, 4), (4, 1), (1, 1)])
def test_equals_loops_over_neighbours_with_their_gradient(shape):
    """An axis of one pixel adds nothing."""
    own = torch.randn(shape, dtype=torch.float64)
    own.view(-1)[::3] = 0.5  # equal neighbours, where the gradient is zero
    plain = own.clone().requires_grad_()
    own.requires_grad_()
    h, w = shape[-2:]
    rows = [abs(plain[..., i + 1, :] - plain[..., i, :]).mean() for i in range(h - 1)]
    columns = [abs(plain[..., j + 1] - plain[..., j]).mean() for j in range(w - 1)]
    expected = sum(sum(part) / len(part) for part in (rows, columns) if part) + 0 * plain.sum()
    loss = total_variation(own)
    torch.testing.assert_close(loss, expected)
    (3 * loss).backward()
    (3 * expected).backward()
    torch.testing.assert_close(own.grad, plain.grad)


def test_half_precision_sums_in_fp32_and_gets_a_gradient_of_its_type():
    x = torch.zeros(1, 400, 400, dtype=torch.float16)
    x[..., ::2] = 1  # the sum of 159 600 ones overflows fp16
    assert total_variation(x).item() == pytest.approx(1)
    x = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float16, requires_grad=True)
    (1024 * total_variation(x)).backward()
    assert x.grad.dtype == torch.float16
    assert x.grad.tolist() == [[-512, 0, 512]]
