"""SCLIP: patches attend by the correlation of their queries and of their keys."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from code_mm.models.backbones.clip import ResidualAttentionBlock
from code_mm.models.backbones.clip.dense_attention import DenseAttention, with_class_token
from code_mm.registry import MODELS


@MODELS.register_module()
class CorrelativeSelfAttention(DenseAttention):
    """SCLIP (Wang et al., ECCV 2024, https://arxiv.org/abs/2312.01597).

    The attention of the last block is ``softmax(q q^T / sqrt(d)) + softmax(k k^T / sqrt(d))``, a
    sum whose rows add up to 2, applied to the values. Residual connections and feed-forward are
    kept. The class token is attended to, as in the authors' code.
    """

    def forward(
        self,
        block: ResidualAttentionBlock,
        patches: Tensor,
        class_token: Tensor | None,
        grid: tuple[int, int],
    ) -> Tensor:
        normed = block.ln_1(with_class_token(patches, class_token))
        query, key, value = (block.attn.project(normed, n) for n in ('query', 'key', 'value'))
        attended = sum(
            F.scaled_dot_product_attention(likeness[:, :, 1:], likeness, value)
            for likeness in (query, key)
        )  # b heads h*w d
        tokens = patches + block.attn.join_heads(attended)
        return tokens + block.mlp(block.ln_2(tokens))
