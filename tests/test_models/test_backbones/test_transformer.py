import pytest
import torch
from torch import nn

from code_mm.models.backbones.transformer import ResidualAttentionBlock, SelfAttention, Transformer


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('activation', ['quick_gelu', 'gelu'])
def test_block(causal, activation):
    """Attention is torch's, whose names the weights have."""
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(12, 3, batch_first=True).double()
    nn.init.normal_(reference.in_proj_bias)
    nn.init.normal_(reference.out_proj.bias)
    x, later = torch.randn(2, 5, 12, dtype=torch.double), torch.ones(5, 5, dtype=torch.bool)
    block = ResidualAttentionBlock(12, 3, activation).double()
    block.attn.load_state_dict(reference.state_dict())
    for norm in (block.ln_1, block.ln_2):
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    normed = [block.ln_1(x)] * 3
    x1 = x + reference(*normed, attn_mask=later.triu(1) if causal else None)[0]
    inner = block.ln_2(x1) @ block.mlp.c_fc.weight.T + block.mlp.c_fc.bias
    if activation == 'gelu':
        inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2
    else:
        inner = inner / (1 + torch.exp(-1.702 * inner))
    expected = x1 + inner @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias
    torch.testing.assert_close(block(x, causal), expected)


def test_mistakes():
    with pytest.raises(ValueError, match='expected a width that 5 heads divide, but got 12'):
        SelfAttention(12, 5)
    with pytest.raises(ValueError, match=r"among \['gelu', 'quick_gelu'\], but got 'relu'"):
        ResidualAttentionBlock(12, 3, 'relu')


def assert_same_with_gradients(result, expected, *inputs):
    torch.testing.assert_close(result, expected)
    weights = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((result * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
    )


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('position', [0, 3, torch.tensor([4, 1])])
def test_reading_one_token_equals_picking_it_afterwards(position, causal):
    torch.manual_seed(0)
    x, tower = torch.randn(2, 5, 12, dtype=torch.double), Transformer(12, 3, 3).double()
    x.requires_grad_()
    whole, index = tower(x, causal), torch.as_tensor(position).expand(2)
    expected = torch.stack([whole[i, index[i]] for i in range(2)])
    result = tower.read(x, position, causal)
    assert_same_with_gradients(result, expected, x, *tower.parameters())


@pytest.mark.parametrize(('prefix', 'texts', 'length'), [(3, 2, 4), (1, 3, 1), (5, 1, 2)])
def test_texts_that_begin_alike_equal_whole_texts(prefix, texts, length):
    torch.manual_seed(0)
    tower = Transformer(12, 3, 3).double()
    start, rest = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((prefix, 12), (texts, length, 12))
    )
    whole = torch.cat([start.expand(texts, -1, -1), rest], dim=1)
    expected = tower(whole, causal=True)[:, prefix:]
    result = tower.continue_prefix(start, rest)
    assert_same_with_gradients(result, expected, start, rest, *tower.parameters())
