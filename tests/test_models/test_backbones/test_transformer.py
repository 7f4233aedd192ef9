"""Short cuts of the tower equal its plain form; blocks: test_clip_layouts.py and parity."""

import pytest
import torch

from code_mm.models.backbones.transformer import ResidualAttentionBlock, SelfAttention, Transformer


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return Transformer(12, 3, 3).double()


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


def assert_same_with_gradients(result, expected, *inputs):
    torch.testing.assert_close(result, expected)
    weights = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad((result * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
    )


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('position', [0, torch.tensor([4, 1])])
def test_reading_one_token_equals_picking_it_afterwards(tower, position, causal):
    x, index = numbers(2, 5, 12), torch.as_tensor(position).expand(2)
    expected = tower(x, causal)[torch.arange(2), index]
    result = tower.read(x, position, causal)
    assert_same_with_gradients(result, expected, x, *tower.parameters())


@pytest.mark.parametrize(('prefix', 'texts', 'length'), [(3, 2, 4), (1, 3, 1)])
def test_texts_that_begin_alike_equal_whole_texts(tower, prefix, texts, length):
    start, rest = numbers(prefix, 12), numbers(texts, length, 12)
    whole = torch.cat([start.expand(texts, -1, -1), rest], dim=1)
    expected = tower(whole, causal=True)[:, prefix:]
    result = tower.continue_prefix(start, rest)
    assert_same_with_gradients(result, expected, start, rest, *tower.parameters())


def test_mistakes():
    with pytest.raises(ValueError, match='expected a width that 5 heads divide, but got 12'):
        SelfAttention(12, 5)
    with pytest.raises(ValueError, match=r"among \['gelu', 'quick_gelu'\], but got 'relu'"):
        ResidualAttentionBlock(12, 3, 'relu')
