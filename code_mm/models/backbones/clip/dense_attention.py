"""Ways to read CLIP's last block densely: what they have in common, and MaskCLIP's."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from code_mm.registry import MODELS

from ..transformer import ResidualAttentionBlock


class DenseAttention(nn.Module):
    """A way to run the last block of CLIP's image tower so that patches keep their own content.

    A further reading is a subclass in a file of its own, registered in ``MODELS`` and named by the
    key ``dense_attention`` of ``CLIP`` and of ``ImageSegmenter.tail`` (``projects/dense_clip`` has
    some). It has no weights: the block's are used, CLIP's or the trainable copy's.
    """

    @abstractmethod
    def forward(
        self,
        block: ResidualAttentionBlock,
        patches: Tensor,
        class_token: Tensor | None,
        grid: tuple[int, int],
    ) -> Tensor:
        """Tokens of the patches [b, h * w, width] after ``block``, before CLIP's final norm.

        Args:
            block (ResidualAttentionBlock): The tower's last.
            patches (Tensor): Tokens in front of it [b, h * w, width], the grid row by row.
            class_token (Tensor, optional): [b, 1, width]; None where only patches are known.
            grid (tuple[int, int]): Height and width of the grid, in patches.
        """


def with_class_token(patches: Tensor, class_token: Tensor | None) -> Tensor:
    """All tokens in CLIP's order [b, 1 + h * w, width]; a ValueError where the first is None."""
    if class_token is None:
        raise ValueError(
            'expected the class token beside the patch tokens, since patches attend to it, but '
            'got None; take both from the trunk, or use SelfOnlyAttention'
        )
    return torch.cat([class_token, patches], dim=1)


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
