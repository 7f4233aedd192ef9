"""CLIP's pre-norm transformer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class QuickGELU(nn.Module):
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""

    def forward(self, x: Tensor) -> Tensor:
        # x sigmoid(a x) = silu(a x) / a: fused, and a single tensor is kept for the gradient
        return F.silu(1.702 * x).div_(1.702)


# Order of the rows of ``in_proj_weight``.
_PROJECTIONS = ('query', 'key', 'value')
_ACTIVATIONS = {'quick_gelu': QuickGELU, 'gelu': nn.GELU}


class SelfAttention(nn.Module):
    """Multi-head self-attention on the fused scaled-dot-product kernel.

    Parameters are named as in ``torch.nn.MultiheadAttention``, so CLIP's weights load unchanged.

    ``heads`` must divide ``width``, the channels of the tokens.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f'expected a width that {heads} heads divide, but got {width}')
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (self.split_heads(x) for x in qkv.chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)  # b heads l d
        return self.join_heads(attended)

    def read(self, x: Tensor, position: int | Tensor, causal: bool = False) -> Tensor:
        """What :meth:`forward` gives for one token per sequence, at ``position``: [b, 1, width].

        The other tokens need keys and values only.
        """
        width = x.shape[-1]
        keys_values = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:])
        k, v = (self.split_heads(x) for x in keys_values.chunk(2, dim=-1))
        q = self.project(token_at(x, position), 'query')  # b heads 1 d
        earlier = None
        if causal:
            index = torch.as_tensor(position, device=x.device).view(-1, 1, 1, 1)
            earlier = torch.arange(x.shape[1], device=x.device) <= index  # b 1 1 l
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=earlier)
        return self.join_heads(attended)

    def continue_prefix(self, x: Tensor, prefix: int, texts: int) -> Tensor:
        """Attend causally in ``texts`` sequences that begin with the same ``prefix`` tokens.

        ``x`` [prefix + texts * l, width] holds those of the prefix, once, then the rest of each
        sequence.
        """
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        qkv = qkv.unflatten(-1, (3, self.heads, -1)).permute(1, 2, 0, 3)  # 3 heads tokens d
        shared, own = qkv.split([prefix, x.shape[0] - prefix], dim=2)
        start = F.scaled_dot_product_attention(*shared.unsqueeze(1), is_causal=True)
        q, k, v = own.unflatten(2, (texts, -1)).transpose(1, 2)  # texts heads l d
        k, v = (
            torch.cat([s.expand(texts, -1, -1, -1), o], 2)
            for s, o in zip(shared[1:], (k, v), strict=True)
        )
        earlier = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device)
        rest = F.scaled_dot_product_attention(q, k, v, attn_mask=earlier.tril(prefix))
        attended = [part.transpose(1, 2).flatten(2).flatten(0, 1) for part in (start, rest)]
        return self.out_proj(torch.cat(attended))

    def project(self, x: Tensor, which: str) -> Tensor:
        """The 'query', 'key' or 'value' alone: [b, l, width] -> [b, heads, l, d]."""
        width, kind = x.shape[-1], _PROJECTIONS.index(which)
        rows = slice(kind * width, (kind + 1) * width)
        projected = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return self.split_heads(projected)

    def split_heads(self, projected: Tensor) -> Tensor:
        """[b, l, width] -> [b, heads, l, d]."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def join_heads(self, attended: Tensor) -> Tensor:
        """The output projection of what the heads gathered: [b, heads, l, d] -> [b, l, width]."""
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class ResidualAttentionBlock(nn.Module):
    """A pre-norm transformer block with CLIP's parameter names.

    Activation 'quick_gelu' is OpenAI's, 'gelu' (exact) that of most CLIPs of open_clip.
    """

    def __init__(self, width: int, heads: int, activation: str = 'quick_gelu') -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f'expected an activation among {sorted(_ACTIVATIONS)}, but got {activation!r}'
            )
        self.ln_1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width),
                gelu=_ACTIVATIONS[activation](),
                c_proj=nn.Linear(4 * width, width),
            )
        )

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """Run the block on tokens [b, l, width]; causal: they attend to none behind themselves."""
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))

    def continue_prefix(self, x: Tensor, prefix: int, texts: int) -> Tensor:
        """Run the block on texts that begin alike, see ``SelfAttention.continue_prefix``."""
        x = x + self.attn.continue_prefix(self.ln_1(x), prefix, texts)
        return x + self.mlp(self.ln_2(x))

    def read(self, x: Tensor, position: int | Tensor, causal: bool = False) -> Tensor:
        """What :meth:`forward` gives for one token per sequence, at a sixth of its cost.

        ``position`` is one index for all, or one for each [b]; the result is [b, width].
        """
        token = token_at(x, position) + self.attn.read(self.ln_1(x), position, causal)
        return (token + self.mlp(self.ln_2(token)))[:, 0]


class Transformer(nn.Module):
    """A stack of :class:`ResidualAttentionBlock` under CLIP's name ``resblocks``.

    Args:
        width, heads, activation (int, int, str): Of the blocks.
        layers (int): Blocks.
        with_cp (bool): Activation checkpointing: keep only what goes into each block and compute
            the rest again in the backward pass (mmcv's name for it).
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        activation: str = 'quick_gelu',
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.resblocks = nn.ModuleList(
            ResidualAttentionBlock(width, heads, activation) for _ in range(layers)
        )

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        """Run all blocks on tokens [b, l, width]."""
        for block in self.resblocks:
            x = run_checkpointed(block, x, causal, with_cp=self.with_cp)
        return x

    def read(self, x: Tensor, position: int | Tensor, causal: bool = False) -> Tensor:
        """One token of every sequence after all blocks, see ``ResidualAttentionBlock.read``."""
        *first, last = self.resblocks
        for block in first:
            x = run_checkpointed(block, x, causal, with_cp=self.with_cp)
        return last.read(x, position, causal)

    def continue_prefix(self, prefix: Tensor, rest: Tensor) -> Tensor:
        """Run all blocks, causally, on sequences that begin alike.

        In a causal transformer the prefix does not know what follows, so it is computed once.

        Tokens ``prefix`` [p, width] and what follows in each sequence [b, l, width] -> the latter
        after all blocks.
        """
        x = torch.cat([prefix, rest.flatten(0, 1)])
        for block in self.resblocks:
            x = run_checkpointed(
                block.continue_prefix, x, len(prefix), rest.shape[0], with_cp=self.with_cp
            )
        return x[len(prefix) :].unflatten(0, rest.shape[:2])


def token_at(x: Tensor, position: int | Tensor) -> Tensor:
    """One token of every sequence: [b, l, c] -> [b, 1, c]."""
    if isinstance(position, int):
        return x[:, position : position + 1]
    return x.gather(1, position.view(-1, 1, 1).expand(-1, 1, x.shape[-1]))


def run_checkpointed(function: Callable, x: Tensor, *args, with_cp: bool) -> Tensor:
    """``function(x, *args)``; with ``with_cp`` its activations are made again for the gradient."""
    if with_cp and torch.is_grad_enabled():
        return checkpoint(function, x, *args, use_reentrant=False)
    return function(x, *args)
