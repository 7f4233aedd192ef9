"""The learnable inverse temperature of a contrastive loss."""

import math

import torch
from torch import Tensor, nn


class LogitScale(nn.Module):
    """Base of losses with a learnable factor on cosine similarities (CLIP's logit scale).

    The factor is ``exp(logit_scale)``, clamped at `max_scale`; beyond it the
    scale receives no gradient.

    Args:
        init_temperature: initial 1 / factor, > 0 (0.07, as in CLIP).
        max_scale: largest factor, > 0 (100, as in CLIP).
    """

    def __init__(self, init_temperature: float = 0.07, max_scale: float = 100.0) -> None:
        super().__init__()
        if init_temperature <= 0 or max_scale <= 0:
            raise ValueError(
                'expected init_temperature > 0 and max_scale > 0, but got '
                f'{init_temperature} and {max_scale}'
            )
        self.max_scale = max_scale
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / init_temperature)))

    def scale(self) -> Tensor:
        """The factor on cosine similarities, 0-d, in (0, max_scale]."""
        return self.logit_scale.exp().clamp(max=self.max_scale)
