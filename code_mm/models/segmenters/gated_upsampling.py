"""The gated upsampling layer of the image segmenter's decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.ops import conv3x3_after_upsampling


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a map [b, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GatedUpsampling(nn.Module):
    """Nearest x2 upsampling followed by a gated residual convolution.

    ``x <- up(x); x <- x + tanh(gate) * conv3x3(GELU(LN(x)))``, the decoder layer of TCL's image
    segmenter (Cha et al., CVPR 2023), which CoDe takes over (thesis §3.2).

    Args:
        channels (int): Channels of the map, kept.
        init_gate (float): Start value of the gate; 0 makes the layer plain upsampling at first.
    """

    def __init__(self, channels: int, init_gate: float = 0.0) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Parameter(torch.tensor(float(init_gate)))

    def forward(self, x: Tensor) -> Tensor:
        """Upsample [b, c, h, w] to [b, c, 2h, 2w]."""
        # Norm and activation look at single pixels, so they may come before the upsampling, and
        # the gate may be put on the weights, which are fewer than pixels.
        gate = torch.tanh(self.gate)
        return conv3x3_after_upsampling(
            F.gelu(self.norm(x)), gate * self.conv.weight, gate * self.conv.bias, residual=x
        )
