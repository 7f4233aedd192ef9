"""Texts as they are, in place of learnt contexts."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor

from code_mm.models.backbones.clip import CLIPTextEncoder
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS


@MODELS.register_module()
class PlainTextPrompt(BaseModule):
    """Embeds texts with the frozen text tower, with nothing learnt in front of them.

    In place of ``NounContextPrompt`` this makes the segmentor learn from whole texts, as TCL does
    (Cha et al., CVPR 2023). Class names are put into the head's templates in prediction. It has no
    weights.

    Args:
        width (int, optional): Channels of the text tower's word embeddings; given to every noun
            prompt, not used by this one.
    """

    num_contexts = 0

    def __init__(self, width: int | None = None) -> None:
        super().__init__()

    def copy_from(self, text_encoder: CLIPTextEncoder) -> None:
        """Nothing starts from the text tower."""

    def check_length(self, length: int, text_encoder: CLIPTextEncoder) -> None:
        """Raise a ValueError where texts of ``length`` tokens do not fit the tower."""
        if length > text_encoder.context_length:
            raise ValueError(
                f'expected noun_ids of at most {text_encoder.context_length} tokens, the context '
                f'length, but got {length}; set '
                f'noun_context_length={text_encoder.context_length} in TokenizeCaption'
            )

    @torch.no_grad()
    def forward(self, noun_ids: Tensor, text_encoder: CLIPTextEncoder) -> Tensor:
        """Embed texts.

        Args:
            noun_ids (Tensor): Token ids with start and end token [n, l_noun].
            text_encoder (CLIPTextEncoder): The frozen text tower.

        Returns:
            Tensor: Unit-length embeddings [n, c], without gradient.
        """
        self.check_length(noun_ids.shape[1], text_encoder)
        return l2_normalize(text_encoder(noun_ids), dim=-1)
