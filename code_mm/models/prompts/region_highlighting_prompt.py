"""The learnt image that fills what a region mask blanks out."""

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
        self.image = nn.Parameter(
            torch.zeros(1, 3, image_size, image_size), requires_grad=learnable
        )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Highlight the regions of n = k * b masks in b images.

        Args:
            image (Tensor): Normalised images [b, 3, H, W].
            mask (Tensor): Region masks [n, 1, h, w] in [0, 1], noun slot outermost.

        Returns:
            Tensor: Highlighted images [n, 3, H, W].
        """
        size = image.shape[-2:]
        mask = F.interpolate(mask, size=size, mode='nearest')
        mask = mask.unflatten(0, (-1, len(image)))  # k b 1 H W
        fill = F.interpolate(self.image, size=size, mode='bilinear', align_corners=False)
        return (mask * image + (1 - mask) * fill).flatten(0, 1)
