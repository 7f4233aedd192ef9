"""The last block of a tiny CLIP, and every reading of it in plain loops."""

import math

import pytest
import torch
from tiny_model import randomise

from code_mm.models.backbones.clip import ResidualAttentionBlock

WIDTH, HEADS = 12, 3


class Loops:
    """One image, one head and one pair of tokens at a time; softmax by its definition."""

    def __init__(self, block):
        self.block = block

    def projections(self, x):
        """Queries, keys and values of tokens [l, width], each as [l][head] -> vector."""
        weight, bias = self.block.attn.in_proj_weight, self.block.attn.in_proj_bias
        normed = self.block.ln_1(x)
        rows = normed @ weight.T + bias  # l 3*width
        size = WIDTH // HEADS
        return [
            [[token[kind * WIDTH + h * size :][:size] for h in range(HEADS)] for token in rows]
            for kind in range(3)
        ]

    def attend(self, x, pairs, prior=lambda i, j: 0.0):
        """Sum over ``pairs`` of projections of softmax(a_i . b_j / sqrt(d) + prior) v_j.

        Args:
            x: Tokens [l, width].
            pairs: Of 0 (query), 1 (key), 2 (value).
            prior: Added to the logit of tokens i and j.
        """
        projected = self.projections(x)
        out = []
        for i in range(len(x)):
            heads = []
            for h in range(HEADS):
                total = torch.zeros(WIDTH // HEADS, dtype=x.dtype)
                for a, b in pairs:
                    logits = [
                        float(projected[a][i][h] @ projected[b][j][h]) / math.sqrt(WIDTH // HEADS)
                        + prior(i, j)
                        for j in range(len(x))
                    ]
                    weights = [math.exp(logit) for logit in logits]
                    for j, weight in enumerate(weights):
                        total = total + weight / sum(weights) * projected[2][j][h]
                heads.append(total)
            out.append(self.block.attn.out_proj(torch.cat(heads)))
        return torch.stack(out)

    def feed_forward(self, x):
        mlp = self.block.mlp
        inner = self.block.ln_2(x) @ mlp.c_fc.weight.T + mlp.c_fc.bias
        inner = inner / (1 + torch.exp(-1.702 * inner))
        return inner @ mlp.c_proj.weight.T + mlp.c_proj.bias


@pytest.fixture
def block():
    block = randomise(ResidualAttentionBlock(WIDTH, HEADS), seed=3, std=0.5)
    return block.double().requires_grad_(False)


@pytest.fixture
def loops(block):
    return Loops(block)


@pytest.fixture
def tokens():
    """Two images of 2 x 3 patches: patches [2, 6, width], class token [2, 1, width], the grid."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 7, WIDTH, generator=generator, dtype=torch.double)
    return x[:, 1:], x[:, :1], (2, 3)
