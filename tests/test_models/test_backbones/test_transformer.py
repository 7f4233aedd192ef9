import pytest
import torch
from torch import nn

from code_mm.models.backbones.transformer import (
    ResidualAttentionBlock,
    SelfAttention,
    Transformer,
)


@pytest.fixture
def pair():
    """Our attention and torch's with the same weights, and tokens."""
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(12, 3, batch_first=True).double()
    nn.init.normal_(reference.in_proj_bias)
    nn.init.normal_(reference.out_proj.bias)
    own = SelfAttention(12, 3).double()
    own.load_state_dict(reference.state_dict())  # the names are torch's
    return own, reference, torch.randn(2, 5, 12, dtype=torch.double)


def attend(reference, x, causal):
    later = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    return reference(x, x, x, attn_mask=later, need_weights=False)[0]


def test_single_projections_and_the_output_make_the_same_attention(pair):
    own, _, x = pair
    query, key, value = (own.project(x, which) for which in ('query', 'key', 'value'))
    weights = (query @ key.transpose(2, 3) / 2).softmax(dim=-1)  # sqrt(12 / 3) = 2
    torch.testing.assert_close(own.join_heads(weights @ value), own(x))
    # a single number by hand: token 4 of sequence 1, head 2, channel 3 of the keys
    by_hand = own.in_proj_weight[12 + 2 * 4 + 3] @ x[1, 4] + own.in_proj_bias[12 + 2 * 4 + 3]
    assert key[1, 2, 4, 3].item() == pytest.approx(by_hand.item())


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('activation', ['quick_gelu', 'gelu'])
def test_block(pair, causal, activation):
    _, reference, x = pair
    block = ResidualAttentionBlock(12, 3, activation).double()
    block.attn.load_state_dict(reference.state_dict())
    for norm in (block.ln_1, block.ln_2):
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    x1 = x + attend(reference, block.ln_1(x), causal)
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
def test_reading_one_token_equals_picking_it_afterwards(pair, position, causal):
    x, tower = pair[-1].requires_grad_(), Transformer(12, 3, 3).double()
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
