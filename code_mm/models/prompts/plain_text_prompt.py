"""Texts as they are, in place of learnt contexts."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor

from code_mm.ops import l2_normalize
from code_mm.registry import MODELS

from ..backbones import VisionLanguageBackbone


@MODELS.register_module()
class PlainTextPrompt(BaseModule):
    """Embeds texts with the frozen text tower, with nothing learnt in front of them.

    In place of ``NounContextPrompt`` this makes the segmentor learn from whole texts, as TCL does
    (Cha et al., CVPR 2023). Class names are put into the head's templates in prediction. It has no
    weights.

    Args:
        text_width (int, optional): Given to every noun prompt, not used by this one.
    """

    num_contexts = 0

    def __init__(self, text_width: int | None = None) -> None:
        super().__init__()

    def copy_from(self, backbone: VisionLanguageBackbone) -> None:
        """Nothing starts from the text tower."""

    def check_length(self, length: int, backbone: VisionLanguageBackbone) -> None:
        """Raise a ValueError where texts of ``length`` tokens do not fit the tower."""
        if length > backbone.context_length:
            raise ValueError(
                f'expected noun_ids of at most {backbone.context_length} tokens, the context '
                f'length, but got {length}; set '
                f'noun_context_length={backbone.context_length} in TokenizeCaption'
            )

    @torch.no_grad()
    def forward(self, noun_ids: Tensor, backbone: VisionLanguageBackbone) -> Tensor:
        """Embed texts.

        Args:
            noun_ids (Tensor): Token ids with start and end token [n, l_noun].
            backbone (VisionLanguageBackbone): Its frozen text tower embeds.

        Returns:
            Tensor: Unit-length embeddings [n, c], without gradient.
        """
        self.check_length(noun_ids.shape[1], backbone)
        return l2_normalize(backbone.encode_text(noun_ids), dim=-1)
