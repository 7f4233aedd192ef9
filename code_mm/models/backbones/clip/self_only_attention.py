"""MaskCLIP: every patch attends to itself only."""

from __future__ import annotations

from torch import Tensor

from code_mm.registry import MODELS

from .dense_attention import DenseAttention
from .transformer import ResidualAttentionBlock


@MODELS.register_module()
class SelfOnlyAttention(DenseAttention):
    """MaskCLIP (Zhou et al., ECCV 2022, https://arxiv.org/abs/2112.01071), the default.

    The attention matrix is the identity, which leaves the value path: queries and keys are not
    computed, and neither the class token nor any other patch has an influence. Residual
    connections and feed-forward are kept, as in TCL and CoDe.
    """

    def forward(
        self,
        block: ResidualAttentionBlock,
        patches: Tensor,
        class_token: Tensor | None,
        grid: tuple[int, int],
    ) -> Tensor:
        values = block.attn.project(block.ln_1(patches), 'value')
        tokens = patches + block.attn.join_heads(values)
        return tokens + block.mlp(block.ln_2(tokens))
