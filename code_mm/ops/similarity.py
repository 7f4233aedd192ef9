"""Cosine similarities between embeddings and dense features."""

import torch
from torch import Tensor

NORMALIZE_EPS = 1e-6
"""Smallest norm that is divided by; large for the sake of half precision."""


def l2_normalize(x: Tensor, dim: int = -1, eps: float = NORMALIZE_EPS) -> Tensor:
    """Scales vectors to unit length, ``x / max(|x|, eps)``.

    Args:
        x: any shape, floating point.
        dim: the channel axis.
        eps: vectors shorter than this are divided by it instead.

    Returns:
        Shape and dtype of `x`; the norm itself is summed in fp32 at least.
    """
    # Squares of half-precision values overflow from 256 on; the norm is not kept in half.
    dtype = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=dtype)
    return (x / norm.clamp_min(eps)).to(x.dtype)


def region_similarity(features: Tensor, embed: Tensor) -> Tensor:
    """Inner product of every location with every embedding.

    Cosine in [-1, 1] where both inputs have unit length.

    Args:
        features: [b, c, h, w].
        embed: [m, c].

    Returns:
        [b, m, h, w].
    """
    return torch.einsum('bchw,mc->bmhw', features, embed)
