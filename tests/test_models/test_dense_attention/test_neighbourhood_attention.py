import math

import pytest
import torch

from code_mm.models.dense_attention import NeighbourhoodAttention, SelfSelfAttention, patch_gaussian


@pytest.mark.parametrize('std', [0.7, 5.0])
@pytest.mark.parametrize('grid', [(2, 3), (3, 2), (1, 6)])
def test_keys_attend_to_keys_and_neighbours(block, loops, tokens, grid, std):
    patches, class_token, _ = tokens
    dense = NeighbourhoodAttention(std)(block, patches, class_token, grid)

    def gaussian(i, j):
        if i == 0 or j == 0:  # the class token has no place
            return 0.0
        (y, x), (other_y, other_x) = divmod(i - 1, grid[1]), divmod(j - 1, grid[1])
        return math.exp(-((y - other_y) ** 2 + (x - other_x) ** 2) / (2 * std**2))

    for image in range(2):
        x = torch.cat([class_token[image], patches[image]])
        torch.testing.assert_close(dense[image], loops.attend(x, [(1, 1)], gaussian)[1:])


def test_the_gaussian_by_hand():
    values = patch_gaussian((2, 2), std=1.0)
    side, diagonal = math.exp(-0.5), math.exp(-1.0)
    expected = [
        [1, side, side, diagonal],
        [side, 1, diagonal, side],
        [side, diagonal, 1, side],
        [diagonal, side, side, 1],
    ]
    torch.testing.assert_close(values, torch.tensor(expected))


def test_a_flat_gaussian_prefers_all_patches_to_the_class_token(block, tokens):
    """With a std beyond the grid only the class token loses weight: e to 1."""
    patches, class_token, grid = tokens
    far = NeighbourhoodAttention(1e4)(block, patches, class_token, grid)
    plain = SelfSelfAttention('key')(block, patches, class_token, grid)
    assert not torch.allclose(far, plain)
    # a class token of no likeness and no value has no other influence than its share of weight
    torch.nn.init.zeros_(block.attn.in_proj_bias)
    torch.nn.init.zeros_(block.attn.out_proj.bias)
    block.ln_1.bias.data.zero_()
    nothing = torch.zeros_like(class_token)
    key = block.attn.project(block.ln_1(patches), 'key')
    value = block.attn.project(block.ln_1(patches), 'value')
    mass = (key @ key.transpose(2, 3) / 2).exp()  # sqrt(4) = 2
    expected = mass @ value / (mass.sum(dim=-1, keepdim=True) + math.exp(-1))
    far = NeighbourhoodAttention(1e8)(block, patches, nothing, grid)
    torch.testing.assert_close(far, block.attn.join_heads(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('std', [0, -1.0, math.nan])
def test_a_std_that_is_not_positive_is_refused(std):
    with pytest.raises(ValueError, match=f'expected a std > 0 .* but got {std}'):
        NeighbourhoodAttention(std)
