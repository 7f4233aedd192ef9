"""The activation of OpenAI's CLIP, with one saved tensor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FACTOR = 1.702


class _QuickGELU(torch.autograd.Function):
    """``x sigmoid(a x) = silu(a x) / a`` with the fused SiLU; nothing but x is kept."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.silu(FACTOR * x, inplace=True).div_(FACTOR)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad, FACTOR * x)


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU, ``x sigmoid(1.702 x)``, of any shape."""
    return _QuickGELU.apply(x)


def quick_gelu_reference(x: Tensor) -> Tensor:
    """The plain form of :func:`quick_gelu`."""
    return x * torch.sigmoid(FACTOR * x)
