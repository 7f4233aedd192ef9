"""What every way of reading CLIP densely has in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from .transformer import ResidualAttentionBlock


class DenseAttention(nn.Module):
    """A way to run the last block of CLIP's image tower so that patches keep their own content.

    A further method is a subclass in a file of its own, registered in ``MODELS`` and named by the
    key ``dense_attention`` of ``CLIPImageEncoder``, ``CLIP`` and ``ImageSegmenter``. It has no
    weights: the block's are used, CLIP's or the trainable copy's.
    """

    @abstractmethod
    def forward(
        self,
        block: ResidualAttentionBlock,
        patches: Tensor,
        class_token: Tensor | None,
        grid: tuple[int, int],
    ) -> Tensor:
        """Dense tokens from those in front of the last block.

        Args:
            block (ResidualAttentionBlock): The last block.
            patches (Tensor): Patch tokens [b, h * w, width], rows of the grid one after another.
            class_token (Tensor, optional): [b, 1, width]; None where only patches are known.
            grid (tuple[int, int]): Height and width of the grid, in patches.

        Returns:
            Tensor: Tokens of the patches [b, h * w, width], before CLIP's final norm.
        """


def with_class_token(patches: Tensor, class_token: Tensor | None) -> Tensor:
    """All tokens in CLIP's order, the class token in front: [b, 1 + h * w, width].

    Raises:
        ValueError: The class token is None.
    """
    if class_token is None:
        raise ValueError(
            'expected the class token beside the patch tokens, since patches attend to it, but '
            'got None; take both from CLIPImageEncoder.trunk, or use SelfOnlyAttention'
        )
    return torch.cat([class_token, patches], dim=1)
