"""A 3x3 convolution after nearest x2 upsampling, on the map before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3x3_after_upsampling(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None = None
) -> Tensor:
    """``nearest_x2(residual) + conv3x3(nearest_x2(x), padding=1)``, a quarter of the products.

    Along one axis, outputs 2i and 2i + 1 of the taps (a, b, c) are

    ``a x[i-1] + (b + c) x[i]  =  s x[i] - a d[i]`` and
    ``(a + b) x[i] + c x[i+1]  =  s x[i] + c d[i+1]``

    with ``s = a + b + c`` and the differences ``d[i] = x[i] - x[i-1]``: three products for two
    outputs in place of six (of four, with taps merged only). Along both axes there are nine in
    place of 36, each a 1x1 convolution of the small map or of its differences. Zero padding means
    x = 0 beyond the border. Exact up to rounding.

    Args:
        x (Tensor): Map before upsampling [b, c, h, w].
        weight (Tensor): Kernel [o, c, 3, 3].
        bias (Tensor): [o].
        residual (Tensor, optional): Map before upsampling [b, o, h, w].

    Returns:
        Tensor: [b, o, 2h, 2w], channels last in memory.
    """
    still, rows, columns, both = _products(weight)
    x = x.movedim(1, -1)  # b h w c
    # One zero on each side: the differences across the border are part of the result.
    in_rows = F.pad(x, (0, 0, 0, 0, 1, 1)).diff(dim=1)  # b h+1 w c
    in_columns = F.pad(x, (0, 0, 1, 1)).diff(dim=2)  # b h w+1 c
    in_both = F.pad(in_rows, (0, 0, 1, 1)).diff(dim=2)  # b h+1 w+1 c
    base = F.linear(x, still, bias)
    if residual is not None:
        base = base + residual.movedim(1, -1)
    parts = (F.linear(in_rows, rows), F.linear(in_columns, columns), F.linear(in_both, both))
    return _Interleave.apply(base, *parts).movedim(-1, 1)


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


class _Interleave(torch.autograd.Function):
    """Adds up the products of every output pixel and lays the four parities out.

    In place of autograd's, whose backward of a slice fills a whole map with zeros.
    """

    @staticmethod
    def forward(ctx, base: Tensor, rows: Tensor, columns: Tensor, both: Tensor) -> Tensor:
        b, h, w, o = base.shape
        ctx.dtypes = [part.dtype for part in (base, rows, columns, both)]
        out = base.new_empty(b, h, 2, w, 2, o)
        for i in (0, 1):
            row = base + rows[:, i : i + h, :, i * o : (i + 1) * o]
            for j in (0, 1):
                k = 2 * i + j
                column = columns[:, :, j : j + w, j * o : (j + 1) * o]
                corner = both[:, i : i + h, j : j + w, k * o : (k + 1) * o]
                torch.add(row, column, out=out[:, :, i, :, j]).add_(corner)
        return out.flatten(3, 4).flatten(1, 2)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        b, h2, w2, o = grad.shape
        h, w = h2 // 2, w2 // 2
        grad = grad.unflatten(2, (w, 2)).unflatten(1, (h, 2))  # b h 2 w 2 o
        by_row, by_column = grad.sum(4), grad.sum(2)  # b h 2 w o, b h w 2 o
        rows = grad.new_zeros(b, h + 1, w, 2 * o)
        columns = grad.new_zeros(b, h, w + 1, 2 * o)
        both = grad.new_zeros(b, h + 1, w + 1, 4 * o)
        for i in (0, 1):
            rows[:, i : i + h, :, i * o : (i + 1) * o] = by_row[:, :, i]
            columns[:, :, i : i + w, i * o : (i + 1) * o] = by_column[:, :, :, i]
            for j in (0, 1):
                k = 2 * i + j
                both[:, i : i + h, j : j + w, k * o : (k + 1) * o] = grad[:, :, i, :, j]
        grads = (by_row.sum(2), rows, columns, both)
        return tuple(g.to(dtype) for g, dtype in zip(grads, ctx.dtypes, strict=True))


def conv3x3_after_upsampling_reference(
    x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None = None
) -> Tensor:
    """The plain form of :func:`conv3x3_after_upsampling`."""
    y = F.conv2d(F.interpolate(x, scale_factor=2, mode='nearest'), weight, bias, padding=1)
    if residual is None:
        return y
    return y + F.interpolate(residual, scale_factor=2, mode='nearest')
