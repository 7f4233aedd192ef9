"""Regions on an image without anything else in it."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from code_mm.registry import MODELS


@MODELS.register_module()
class RegionBlanking(BaseModule):
    """Blanks out what a region mask leaves out: ``M * X``, the mean colour elsewhere.

    The text-grounded image of TCL (Cha et al., CVPR 2023). It equals a
    ``RegionHighlightingPrompt`` that does not learn, but has no weights, so that checkpoints need
    not have any.
    """

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Blank out all but the regions of n = k * b masks in b images.

        Args:
            image (Tensor): Normalised images [b, 3, H, W].
            mask (Tensor): Region masks [n, 1, h, w] in [0, 1], noun slot outermost.

        Returns:
            Tensor: Blanked images [n, 3, H, W].
        """
        mask = F.interpolate(mask, size=image.shape[-2:], mode='nearest')
        return (mask.unflatten(0, (-1, len(image))) * image).flatten(0, 1)
