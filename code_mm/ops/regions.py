"""Unit vectors, cosines of dense features with texts, and means over soft masks."""

import torch
from torch import Tensor

NORMALIZE_EPS = 1e-6
"""Smallest norm that is divided by; large for the sake of half precision."""

POOLING_EPS = 1e-6
"""Added to the area (a number of pixels) so that an empty mask pools to zero."""


def l2_normalize(x: Tensor, dim: int = -1, eps: float = NORMALIZE_EPS) -> Tensor:
    """Scale vectors to unit length, ``x / max(|x|, eps)``, in the dtype of ``x``.

    Args:
        x (Tensor): Any shape, floating point.
        dim (int): The channel axis.
        eps (float): Vectors shorter than this are divided by it instead.
    """
    # Squares of half-precision values overflow from 256 on; the norm is not kept in half.
    dtype = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=dtype)
    return (x / norm.clamp_min(eps)).to(x.dtype)


def region_similarity(features: Tensor, embed: Tensor) -> Tensor:
    """Inner product of every location with every embedding; cosines of unit vectors.

    Args:
        features (Tensor): [b, c, h, w].
        embed (Tensor): [m, c].

    Returns:
        Tensor: [b, m, h, w].
    """
    return torch.einsum('bchw,mc->bmhw', features, embed)


def masked_pooling(features: Tensor, masks: Tensor, eps: float = POOLING_EPS) -> Tensor:
    """Pool features by each mask, weights ``mask / (sum(mask) + eps)``; not normalised.

    Mask rows may be the k * b image-noun pairs of b images (noun slot outermost): row
    ``j * b + i`` then pools image i, and the features are not repeated k times.

    Args:
        features (Tensor): [b, c, h, w].
        masks (Tensor): [n, m, h, w] with n a multiple of b, values in [0, 1].
        eps (float): See ``POOLING_EPS``.

    Returns:
        Tensor: [n, m, c], dtype of the product of both under autocast.

    Raises:
        ValueError: n is no multiple of b, or the grids differ.
    """
    b, n = len(features), len(masks)
    if n % b or features.shape[-2:] != masks.shape[-2:]:
        raise ValueError(
            f'expected masks [k * {b}, m, {features.shape[-2]}, {features.shape[-1]}] for features '
            f'{tuple(features.shape)}, but got {tuple(masks.shape)}'
        )
    # Sums of thousands of pixels leave the range in which half precision counts.
    sum_dtype = torch.promote_types(masks.dtype, torch.float32)
    weights = masks / (masks.sum((-2, -1), keepdim=True, dtype=sum_dtype) + eps)
    weights = weights.to(features.dtype).unflatten(0, (n // b, b))
    return torch.einsum('bchw,kbmhw->kbmc', features, weights).flatten(0, 1)
