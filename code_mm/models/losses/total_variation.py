"""Anisotropic total variation of dense maps."""

import torch
from torch import Tensor, nn

from code_mm.registry import MODELS


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours: ``mean |dx| + mean |dy|``.

    Args:
        x: [..., h, w], features or masks. An axis of length 1 adds nothing.

    Returns:
        0-d, summed in fp32 at least.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    return sum(
        difference.abs().sum(dtype=dtype) / max(difference.numel(), 1)
        for difference in (x.diff(dim=-1), x.diff(dim=-2))
    )


@MODELS.register_module()
class TotalVariationLoss(nn.Module):
    """Smoothness of the image segmenter's features and masks (L_seg^v; TCL).

    Args:
        loss_weight: factor on the loss (1.0 in CoDe).
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, x: Tensor) -> Tensor:
        """Weighted loss, 0-d; `x` as in `total_variation`."""
        return self.loss_weight * total_variation(x)
