"""Anisotropic total variation of dense maps."""

import torch
from torch import Tensor, nn

from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours: ``mean |dx| + mean |dy|``.

    Args:
        x (Tensor): [..., h, w], features or masks. An axis of length 1 adds nothing.

    Returns:
        Tensor: 0-d, summed in fp32 at least.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    differences = (x.diff(dim=-1), x.diff(dim=-2))
    return sum(d.abs().sum(dtype=dtype) / max(d.numel(), 1) for d in differences)


@MODELS.register_module()
class TotalVariationLoss(nn.Module):
    """Smoothness of the image segmenter's features and masks (L_seg^v; TCL).

    Args:
        of (str): Value of the step, 'features' or 'masks'.
    """

    def __init__(self, of: str, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.of, self.loss_weight = of, loss_weight

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        return self.loss_weight * total_variation(step.value(self.of))
