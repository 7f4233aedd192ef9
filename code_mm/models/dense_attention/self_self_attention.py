"""ClearCLIP: what the last block's self-self attention adds, and nothing else."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from code_mm.models.backbones.clip import ResidualAttentionBlock
from code_mm.models.backbones.clip.dense_attention import DenseAttention, with_class_token
from code_mm.registry import MODELS

_KINDS = ('query', 'key', 'value')


@MODELS.register_module()
class SelfSelfAttention(DenseAttention):
    """ClearCLIP (Lan et al., ECCV 2024, https://arxiv.org/abs/2407.12442).

    Patches attend by the similarity of one kind of projection with itself,
    ``softmax(q q^T / sqrt(d)) v``. The last block's residual connections and feed-forward are left
    out: the output of the attention is the dense token. The class token is attended to, as in the
    authors' code.

    Args:
        which (str): What is compared with itself: 'query' (ClearCLIP), 'key' or 'value'.

    Raises:
        ValueError: Another ``which``.
    """

    def __init__(self, which: str = 'query') -> None:
        super().__init__()
        if which not in _KINDS:
            raise ValueError(f'expected which to be one of {_KINDS}, but got {which!r}')
        self.which = which

    def forward(
        self,
        block: ResidualAttentionBlock,
        patches: Tensor,
        class_token: Tensor | None,
        grid: tuple[int, int],
    ) -> Tensor:
        normed = block.ln_1(with_class_token(patches, class_token))
        value = block.attn.project(normed, 'value')
        likeness = value if self.which == 'value' else block.attn.project(normed, self.which)
        attended = F.scaled_dot_product_attention(likeness[:, :, 1:], likeness, value)
        return block.attn.join_heads(attended)
