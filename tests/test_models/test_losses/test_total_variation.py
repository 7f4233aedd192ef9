import pytest
import torch

from code_mm.models.losses import total_variation


def test_half_precision_sums_in_fp32_and_gets_a_gradient_of_its_type():
    x = torch.zeros(1, 400, 400, dtype=torch.float16)
    x[..., ::2] = 1  # the sum of 159 600 ones overflows fp16
    assert total_variation(x).item() == pytest.approx(1)
    assert total_variation(torch.ones(2, 1, 1)).item() == 0  # an axis of one pixel adds nothing
    x = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float16, requires_grad=True)
    (1024 * total_variation(x)).backward()
    assert x.grad.dtype == torch.float16
    assert x.grad.tolist() == [[-512, 0, 512]]
