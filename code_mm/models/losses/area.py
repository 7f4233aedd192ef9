"""Keeps the mean area of masks near a prior."""

import torch
from torch import Tensor, nn

from code_mm.ops import mean_over_processes
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep


def area_loss(area: Tensor, prior: float, sync: bool = True) -> Tensor:
    """Distance of the mean area from the prior, ``|mean(area) - prior|``.

    The mean over batch and pixels comes first, so single masks may be larger or smaller.

    Args:
        area (Tensor): Masks in [0, 1] of any shape, or their mean. Without elements (no negatives
            in a batch of one pair) the loss is 0.
        prior (float): Wanted mean area, a share of the image in [0, 1].
        sync (bool): Take the mean over all processes, which makes the mean over processes the loss
            of the joined batch; else each is compared on its own, as in the authors' release.

    Returns:
        Tensor: 0-d, fp32 at least.
    """
    dtype = torch.promote_types(area.dtype, torch.float32)
    if area.numel() == 0:
        return area.sum(dtype=dtype)
    mean = area.mean(dtype=dtype)
    if sync:
        mean = mean_over_processes(mean)
    return (mean - prior).abs()


@MODELS.register_module()
class AreaLoss(nn.Module):
    """Area prior of the region masks (L_seg^v; TCL).

    Args:
        of (str): Value of the step, 'own_masks' or 'negative_area'.
        prior, sync: See :func:`area_loss`.
    """

    def __init__(self, of: str, prior: float, sync: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= prior <= 1:
            raise ValueError(f'expected prior in [0, 1], a share of the image, but got {prior}')
        self.of, self.prior, self.sync, self.loss_weight = of, prior, sync, loss_weight

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        return self.loss_weight * area_loss(step.value(self.of), self.prior, self.sync)
