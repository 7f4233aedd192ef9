"""The learnt words that fill what a word mask blanks out."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS
from code_mm.tokenizers import end_of_text_index


@MODELS.register_module()
class WordHighlightingPrompt(BaseModule):
    """Highlights words: ``H = m * X + (1 - m) * P`` on word embeddings (thesis Eq. 3.5).

    Start token, end token and everything behind it are kept as they are, as in the authors'
    release.

    Args:
        context_length (int): Text positions of the prompt.
        width (int): Channels of the text tower's word embeddings.
        learnable (bool): False keeps the fill at zero (thesis Table 4.2, rows without the word
            prompt).
    """

    def __init__(self, context_length: int, width: int, learnable: bool = True) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.zeros(context_length, width), requires_grad=learnable)

    def forward(self, words: Tensor, mask: Tensor, caption_ids: Tensor) -> Tensor:
        """Highlight the words of n = k * b masks in b captions.

        Args:
            words (Tensor): Word embeddings of the captions [b, l, width], before positions.
            mask (Tensor): Soft word masks [n, l] in [0, 1], noun slot outermost.
            caption_ids (Tensor): Token ids of the captions [b, l].

        Returns:
            Tensor: Highlighted word embeddings [n, l, width].
        """
        mask = mask.unflatten(0, (-1, len(words)))  # k b l
        mask = mask.masked_fill(special_positions(caption_ids), 1.0)[..., None]
        fill = self.words[: words.shape[1]]
        return (mask * words + (1 - mask) * fill).flatten(0, 1)


def special_positions(caption_ids: Tensor) -> Tensor:
    """Mark start token, end token and all positions behind it: [b, l] -> bool [b, l]."""
    position = torch.arange(caption_ids.shape[1], device=caption_ids.device)
    return (position == 0) | (position >= end_of_text_index(caption_ids)[:, None])
