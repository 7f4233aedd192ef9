"""Keeps the mean area of masks near a prior."""

import torch
from torch import Tensor, nn

from code_mm.ops import mean_over_processes
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep


def area_loss(area: Tensor, prior: float, sync: bool = True) -> Tensor:
    """Distance of the mean area from the prior, ``|mean(area) - prior|``.

    The mean over batch and pixels comes first, then the absolute value, so
    single masks are free to be larger or smaller.

    Args:
        area: masks in [0, 1] of any shape, or statistics of equal weight that
            have the same mean: the areas [n, m] of the masks, or one 0-d mean.
            Without elements (no negatives in a batch of one pair) the loss is 0.
        prior: wanted mean area, a share of the image in [0, 1].
        sync: take the mean over all processes, which makes the mean over
            processes the loss of the joined batch. Without it each process
            is compared with the prior on its own.

    Returns:
        0-d, fp32 at least.
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
        of: value of the step, 'own_masks' or 'negative_area'.
        prior: wanted mean area, in [0, 1] (0.25 for positive pairs, 0 for negative).
        sync: compare the mean of all processes, see `area_loss`.
        loss_weight: factor on the loss (0.5 for positive pairs, 0.05 for negative).

    Raises:
        ValueError: if `prior` is not in [0, 1].
    """

    def __init__(self, of: str, prior: float, sync: bool = True, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.of = of
        if not 0 <= prior <= 1:
            raise ValueError(f'expected prior in [0, 1], a share of the image, but got {prior}')
        self.prior = prior
        self.sync = sync
        self.loss_weight = loss_weight

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        return self.loss_weight * area_loss(step.value(self.of), self.prior, self.sync)
