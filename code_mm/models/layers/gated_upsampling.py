"""The gated upsampling layer of the image segmenter's decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        upsampled = F.interpolate(x, scale_factor=2, mode='nearest')
        # Norm and activation look at single pixels, so they may come before the upsampling.
        update = conv3x3_after_upsampling(F.gelu(self.norm(x)), self.conv.weight, self.conv.bias)
        return upsampled + torch.tanh(self.gate) * update


def conv3x3_after_upsampling(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``conv3x3(nearest_x2(x), padding=1)`` with 4/9 of its multiplications.

    In each direction the three taps of an output pixel fall on two pixels of the small map: taps
    (0 | 1 + 2) for even outputs, (0 + 1 | 2) for odd ones. So the result is that of four 2x2
    convolutions of the small map, one per parity, zero padding included. Exact up to rounding.

    Args:
        x (Tensor): Map before upsampling [b, c, h, w].
        weight (Tensor): Kernel [o, c, 3, 3].
        bias (Tensor): [o].

    Returns:
        Tensor: [b, o, 2h, 2w].
    """
    h, w = x.shape[-2:]
    # Columns first: each call puts its parity in front, and the rows move to axis 3.
    kernels = _pair_taps(_pair_taps(weight, dim=3), dim=3)  # row parity, column parity, o c 2 2
    maps = F.conv2d(x, kernels.flatten(0, 2), padding=1).unflatten(1, (2, 2, len(weight)))
    # The map of a parity begins one pixel later where the parity is odd.
    parities = [maps[:, i, j, :, i : i + h, j : j + w] for i in (0, 1) for j in (0, 1)]
    merged = torch.stack(parities, dim=2).unflatten(2, (2, 2))  # b o row column h w
    merged = merged.permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)
    return merged + bias[:, None, None]


def _pair_taps(weight: Tensor, dim: int) -> Tensor:
    """Sum three taps along ``dim`` to the two of even and of odd outputs, stacked in front."""
    first, middle, last = weight.unbind(dim)
    even = torch.stack([first, middle + last], dim)
    odd = torch.stack([first + middle, last], dim)
    return torch.stack([even, odd])
