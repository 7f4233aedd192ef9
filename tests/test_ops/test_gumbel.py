import pytest
import torch

from code_mm.ops import gumbel_sigmoid


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_and_exactly_binary(dtype):
    logits = torch.tensor([-60.0, -0.4, 0.0, 0.4, 60.0], dtype=dtype, requires_grad=True)
    uniform = torch.tensor([0.0, 0.0005, 0.9999, 1.0, 1.0], dtype=dtype)
    mask = gumbel_sigmoid(logits, noise=uniform)
    mask.sum().backward()
    assert mask.dtype == dtype
    assert mask.tolist() == [0, 0, 1, 1, 1]
    assert logits.grad.isfinite().all()


def test_rejects_bad_arguments():
    with pytest.raises(ValueError, match='expected tau > 0, but got 0'):
        gumbel_sigmoid(torch.zeros(2), torch.zeros(2), tau=0)
    with pytest.raises(ValueError, match=r'shape \(2,\).*but got \(3,\)'):
        gumbel_sigmoid(torch.zeros(2), noise=torch.rand(3))
