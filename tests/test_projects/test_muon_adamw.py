import copy

import pytest
import torch
from torch import nn

from code_mm.engine.muon_adamw import MuonAdamW, orthogonalize


def _model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.Linear(24, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def test_singular_values_come_near_one_and_vectors_stay():
    torch.manual_seed(0)
    matrices = torch.randn(3, 8, 24)
    result = orthogonalize(matrices)
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.linalg.svdvals(result).sub(1).abs().max() < 0.4
    mixed = u.mT @ result @ v.mT  # diagonal where the singular vectors are the same
    off = mixed - torch.diag_embed(mixed.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 0.1
    assert s.max() > 2  # else the test says nothing


def test_what_is_no_matrix_of_the_width_takes_adamw():
    model, other = _model(), _model()
    ours = MuonAdamW(model.parameters(), block=8, lr=1e-2, weight_decay=0.1)
    plain = torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        for m, optimizer in ((model, ours), (other, plain)):
            torch.manual_seed(1)
            optimizer.zero_grad()
            m(torch.randn(5, 8)).square().sum().backward()
            # the same gradients for both, whatever the matrices have become
            for i, p in enumerate(m.parameters()):
                p.grad = torch.full_like(p, 0.1 * (i + 1)) * torch.linspace(-1, 2, p.numel()).view(
                    p.shape
                )
            optimizer.step()
    same = {
        n: torch.equal(p, q)
        for (n, p), q in zip(model.named_parameters(), other.parameters(), strict=False)
    }
    assert same == {n: n not in ('0.weight', '1.weight') for n in same}


def test_the_first_step_by_hand():
    weight = nn.Parameter(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    before = weight.detach().clone()
    weight.grad = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    MuonAdamW([weight], block=8, lr=0.1, weight_decay=0.5).step()
    # momentum and Nesterov's look-ahead only rescale the first gradient
    direction = orthogonalize(weight.grad[None])[0]
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 8**0.5 * direction
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=2e-2)


def test_queries_keys_and_values_are_orthogonalised_apart():
    weight = nn.Parameter(torch.zeros(24, 8))
    weight.grad = torch.randn(24, 8, generator=torch.Generator().manual_seed(1))
    weight.grad[:8] *= 100  # a common orthogonalisation would drown the rest
    MuonAdamW([weight], block=8, lr=1.0, weight_decay=0.0).step()
    for part in weight.detach().split(8):
        assert torch.linalg.svdvals(part / (0.2 * 8**0.5)).sub(1).abs().max() < 0.4


def test_resuming_gives_the_same_parameters():
    model = _model()
    optimizer = MuonAdamW(model.parameters(), block=8, lr=1e-2)

    def step(m, o, seed):
        torch.manual_seed(seed)
        o.zero_grad()
        m(torch.randn(5, 8)).square().sum().backward()
        o.step()

    step(model, optimizer, 0)
    again = copy.deepcopy(model)
    resumed = MuonAdamW(again.parameters(), block=8, lr=1e-2)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in (1, 2):
        step(model, optimizer, seed)
        step(again, resumed, seed)
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)


def test_it_can_be_named_in_a_config():
    from mmengine.optim import build_optim_wrapper

    wrapper = build_optim_wrapper(
        _model(), {'type': 'OptimWrapper', 'optimizer': {'type': 'MuonAdamW', 'lr': 1e-3}}
    )
    assert isinstance(wrapper.optimizer, MuonAdamW)
    with pytest.raises(ValueError, match='block'):
        MuonAdamW(_model().parameters(), block=0)
