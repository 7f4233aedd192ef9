import pytest
import torch

from code_mm.structures import RegionMasks


@pytest.mark.parametrize(
    ('b', 'k', 'processes', 'rank'), [(3, 2, 1, 0), (2, 3, 2, 1), (2, 1, 1, 0)]
)
def test_negative_mean_is_the_mean_off_the_diagonal(b, k, processes, rank):
    generator = torch.Generator().manual_seed(0)
    n = b * k
    m = n * processes
    soft_all = torch.rand(b, m, 4, 5, generator=generator, dtype=torch.double)
    first = rank * n
    own = torch.stack([soft_all[pair % b, first + pair] for pair in range(n)])[:, None]
    masks = RegionMasks(None, soft_all, own, None)
    negatives = [
        soft_all[pair % b, column]
        for pair in range(n)
        for column in range(m)
        if column != first + pair
    ]
    expected = torch.stack(negatives).mean().float()
    torch.testing.assert_close(masks.negative_mean(), expected)


def test_a_single_pair_has_no_negatives():
    soft = torch.rand(1, 1, 2, 2)
    assert RegionMasks(None, soft, soft, None).negative_mean().item() == pytest.approx(0, abs=1e-7)
