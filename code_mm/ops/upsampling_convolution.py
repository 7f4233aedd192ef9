"""A 3x3 convolution after nearest x2 upsampling, computed on the map before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3x3_after_upsampling(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    """``nearest_x2(residual) + conv3x3(nearest_x2(x), padding=1)``, a quarter of the products.

    Along one axis, outputs 2i and 2i + 1 of the taps (a, b, c) are

    ``a x[i-1] + (b + c) x[i]  =  s x[i] - a d[i]`` and
    ``(a + b) x[i] + c x[i+1]  =  s x[i] + c d[i+1]``

    with ``s = a + b + c`` and the differences ``d[i] = x[i] - x[i-1]``: three products for two
    outputs in place of six. Along both axes there are nine in place of 36, each a 1x1 convolution
    of the small map or of its differences. Zero padding means x = 0 beyond the border. Exact up
    to rounding.

    Args:
        x (Tensor): Map before upsampling [b, c, h, w].
        weight (Tensor): Kernel [o, c, 3, 3].
        bias (Tensor): [o].
        residual (Tensor): Map before upsampling [b, o, h, w].

    Returns:
        Tensor: [b, o, 2h, 2w], channels last in memory.
    """
    still, rows, columns, both = _products(weight)
    h, w = x.shape[-2:]
    x = x.movedim(1, -1)  # b h w c
    # One zero on each side: the differences across the border are part of the result.
    by_row = F.pad(x, (0, 0, 0, 0, 1, 1)).diff(dim=1)  # b h+1 w c
    by_column = F.pad(x, (0, 0, 1, 1)).diff(dim=2)  # b h w+1 c
    by_both = F.pad(by_row, (0, 0, 1, 1)).diff(dim=2)  # b h+1 w+1 c
    base = F.linear(x, still, bias) + residual.movedim(1, -1)
    # chunks, whose gradients are put side by side; those of slices are zeros to be filled
    rows = F.linear(by_row, rows).chunk(2, dim=-1)
    columns = F.linear(by_column, columns).chunk(2, dim=-1)
    both = F.linear(by_both, both).chunk(4, dim=-1)
    lines = []
    for i in (0, 1):  # parity of the output's row, and j of its column
        row = base + rows[i][:, i : i + h]
        pixels = [
            (row + columns[j][:, :, j : j + w]).add_(both[2 * i + j][:, i : i + h, j : j + w])
            for j in (0, 1)
        ]
        lines.append(torch.stack(pixels, dim=3))  # b h w 2 o
    del base, row, rows, columns, both, pixels  # makes room: this is where memory peaks
    return torch.stack(lines, dim=2).flatten(3, 4).flatten(1, 2).movedim(-1, 1)


def _products(weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matrices of the nine products: [o, c], [2o, c], [2o, c] and [4o, c].

    Those of the differences have the parities of output row and column in front.
    """
    o, c = weight.shape[:2]
    # the sum, and the taps of even and of odd outputs with their signs
    taps = weight.new_zeros(3, 3)  # filled on the device: a copy would wait for it
    taps[0] = 1
    taps[1, 0] = -1
    taps[2, 2] = 1
    with torch.autocast(weight.device.type, enabled=False):
        # one product lays the nine matrices out one after the other
        matrices = torch.kron(taps, taps) @ weight.reshape(o * c, 9).T
    matrices = matrices.view(3, 3, o, c)
    return (
        matrices[0, 0],
        matrices[1:, 0].flatten(0, 1),
        matrices[0, 1:].flatten(0, 1),
        matrices[1:, 1:].flatten(0, 2),
    )


def conv3x3_after_upsampling_reference(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor
) -> Tensor:
    """The plain form of :func:`conv3x3_after_upsampling`."""
    x, residual = (F.interpolate(y, scale_factor=2, mode='nearest') for y in (x, residual))
    return residual + F.conv2d(x, weight, bias, padding=1)
