import math

import pytest
import torch

from code_mm.models.losses import info_nce
from code_mm.registry import MODELS


def slow_info_nce(image, text, scale, groups=None):
    """Thesis Eq. 3.7 written as sums."""
    n = len(image)
    groups = list(range(n)) if groups is None else groups
    s = [[float(torch.cosine_similarity(i, t, dim=0)) * scale for t in text] for i in image]
    total = 0
    for i in range(n):
        same = [j for j in range(n) if groups[j] == groups[i]]
        for j in same:
            row = s[i][j] - math.log(sum(math.exp(s[i][c]) for c in range(n)))
            column = s[j][i] - math.log(sum(math.exp(s[c][i]) for c in range(n)))
            total -= (row + column) / (2 * n * len(same))
    return total


@pytest.mark.parametrize('groups', [None, [0, 1, 0, 2, 1]])
def test_equals_sums(groups):
    image, text = torch.randn(2, 5, 7, dtype=torch.float64)
    tensor = None if groups is None else torch.tensor(groups)
    loss = info_nce(3 * image, text / 2, 4.0, tensor)
    assert loss.item() == pytest.approx(slow_info_nce(image, text, 4.0, groups), rel=1e-6)


def test_closed_form_of_orthogonal_pairs():
    loss = info_nce(torch.eye(4), torch.eye(4), 2.0)
    assert loss.item() == pytest.approx(math.log(1 + 3 * math.exp(-2)), rel=1e-5)


def test_order_of_pairs_and_exchange_of_sides_do_not_matter():
    image, text = torch.randn(2, 6, 8)
    order = torch.randperm(6)
    torch.testing.assert_close(info_nce(image, text, 9.0), info_nce(text, image, 9.0))
    torch.testing.assert_close(info_nce(image, text, 9.0), info_nce(image[order], text[order], 9.0))


def test_module_weighs_the_loss_and_learns_the_scale():
    image, text = torch.randn(2, 4, 8)
    module = MODELS.build(dict(type='InfoNCELoss', loss_weight=0.5, init_temperature=0.1))
    loss = module(image, text)
    torch.testing.assert_close(loss, 0.5 * info_nce(image, text, 10.0))
    loss.backward()
    assert module.logit_scale.grad.abs() > 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_similarities_are_not_rounded_under_autocast(dtype):
    image, text = torch.randn(2, 8, 16).to(dtype).float()
    module = MODELS.build(dict(type='InfoNCELoss', init_temperature=0.01))
    with torch.autocast('cpu', dtype=dtype):
        loss = module(image.to(dtype), text.to(dtype))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, info_nce(image, text, 100.0))


@pytest.mark.parametrize('groups', [None, torch.tensor([0, 1, 0, 2, 1, 1])])
def test_two_processes(assert_two_processes_equal_one, groups):
    inputs = [*torch.randn(2, 6, 8)] + ([] if groups is None else [groups])
    assert_two_processes_equal_one(dict(type='InfoNCELoss', loss_weight=0.3), *inputs)


def test_rejects_embeddings_that_are_no_pairs():
    with pytest.raises(ValueError, match=r'one shape \[n, c\], but got \(3, 4\) and \(2, 4\)'):
        info_nce(torch.zeros(3, 4), torch.zeros(2, 4), 1.0)
