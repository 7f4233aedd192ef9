"""Highlighting: what fills an image or a text where a mask blanks it out is learnt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS


@MODELS.register_module()
class RegionHighlightingPrompt(BaseModule):
    """Highlights regions: ``H = M * X + (1 - M) * P`` (thesis Eq. 3.4).

    Args:
        image_size (int): Side of the prompt in pixels; it is resized to the input's size.
        learnable (bool): False keeps the fill at zero, the mean colour (thesis Table 4.2,
            rows without the region prompt).
    """

    def __init__(self, image_size: int = 224, learnable: bool = True) -> None:
        super().__init__()
        blank = torch.zeros(1, 3, image_size, image_size)
        self.image = nn.Parameter(blank, requires_grad=learnable)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Highlighted images [n, 3, H, W], n = k * b.

        Args:
            image (Tensor): Normalised images [b, 3, H, W].
            mask (Tensor): Region masks [n, 1, h, w] in [0, 1], noun slot outermost.
        """
        size = image.shape[-2:]
        mask = F.interpolate(mask, size=size, mode='nearest')
        mask = mask.unflatten(0, (-1, len(image)))  # k b 1 H W
        fill = F.interpolate(self.image, size=size, mode='bilinear', align_corners=False)
        return (mask * image + (1 - mask) * fill).flatten(0, 1)


@MODELS.register_module()
class WordHighlightingPrompt(BaseModule):
    """Highlights words: ``H = m * X + (1 - m) * P`` on word embeddings (thesis Eq. 3.5).

    Start token, end token and everything behind it are kept as they are, as in the authors'
    release.

    Args:
        context_length (int): Text positions of the prompt.
        text_width (int): Channels of the backbone's word embeddings.
        learnable (bool): False keeps the fill at zero (thesis Table 4.2, rows without the word
            prompt).
    """

    def __init__(self, context_length: int, text_width: int, learnable: bool = True) -> None:
        super().__init__()
        self.words = nn.Parameter(torch.zeros(context_length, text_width), requires_grad=learnable)

    def forward(self, words: Tensor, mask: Tensor, word_positions: Tensor) -> Tensor:
        """Highlighted word embeddings [n, l, w], n = k * b.

        Args:
            words (Tensor): Word embeddings of the captions [b, l, w], before positions.
            mask (Tensor): Soft word masks [n, l] in [0, 1], noun slot outermost.
            word_positions (Tensor): bool [b, l], False at start, end and padding.
        """
        mask = mask.unflatten(0, (-1, len(words)))  # k b l
        mask = mask.masked_fill(~word_positions, 1.0)[..., None]
        fill = self.words[: words.shape[1]]
        return (mask * words + (1 - mask) * fill).flatten(0, 1)
