"""Anisotropic total variation of dense maps."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours: ``mean |dx| + mean |dy|``.

    Args:
        x (Tensor): [..., c, h, w], features or masks. An axis of length 1 adds nothing.

    Returns:
        Tensor: 0-d, fp32 at least.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    # channels last as features are, so that the gradients of their slices are, too
    x = x.to(dtype).movedim(-3, -1)
    pairs = (x[..., 1:, :], x[..., :-1, :]), (x[..., 1:, :, :], x[..., :-1, :, :])
    # |a - b|, since nothing of it is smooth; for the gradient it keeps x alone
    l1 = partial(F.smooth_l1_loss, reduction='sum', beta=torch.finfo(dtype).tiny)
    return sum(l1(a, b) / max(a.numel(), 1) for a, b in pairs)


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
