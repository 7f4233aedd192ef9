"""CoDe's text segmenter, started from the head that brings MiniLM's texts to the joint space."""

from __future__ import annotations

import torch
from torch import Tensor

from code_mm.models.segmenters import TextSegmenter
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS

from .backbone import EfficientNetMiniLM, text_head


@MODELS.register_module()
class HeadTextSegmenter(TextSegmenter):
    """A ``TextSegmenter`` whose projection is a trainable copy of the backbone's head.

    As the image segmenter, it starts where the backbone already tells things apart.

    Args:
        text_width (int): Channels of MiniLM's states.
        head_width (int, optional): As of the backbone.
        embed_dim (int, optional): Given to every text segmenter; it is the head's.
        **kwargs: Those of ``TextSegmenter``.
    """

    def __init__(
        self,
        text_width: int,
        *,
        head_width: int | None = None,
        embed_dim: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(text_width, **kwargs)
        self.projection = text_head(text_width, head_width)

    @torch.no_grad()
    def copy_from(self, backbone: EfficientNetMiniLM) -> None:
        """Start from the backbone's head as it is now."""
        self.projection.load_state_dict(backbone.text_head.state_dict())

    def forward(self, hidden: Tensor) -> Tensor:
        """Word-wise features x^t: hidden states [b, l, width] -> unit length [b, l, c]."""
        states = l2_normalize(self.transformer(hidden), dim=-1)  # as sentences enter the head
        return l2_normalize(self.projection(states), dim=-1)
