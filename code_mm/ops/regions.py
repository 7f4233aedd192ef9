"""Unit vectors, cosines of dense features with texts, and means over soft masks."""

import torch
from torch import Tensor

NORMALIZE_EPS = 1e-6
"""Smallest norm that is divided by; large for the sake of half precision."""

POOLING_EPS = 1e-6
"""Added to the area (a number of pixels) so that an empty mask pools to zero."""


def l2_normalize(x: Tensor, dim: int = -1) -> Tensor:
    """Scale vectors to unit length, ``x / max(|x|, NORMALIZE_EPS)``, in the dtype of ``x``."""
    # Squares of half-precision values overflow from 256 on; the norm is not kept in half.
    dtype = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=dtype)
    return (x / norm.clamp_min(NORMALIZE_EPS)).to(x.dtype)


def region_similarity(features: Tensor, embed: Tensor) -> Tensor:
    """Inner product of every location with every embedding; cosines of unit vectors.

    [b, c, h, w] and [m, c] -> [b, m, h, w].
    """
    return torch.einsum('bchw,mc->bmhw', features, embed)


def masked_pooling(features: Tensor, masks: Tensor) -> Tensor:
    """Pool features by each mask, weights ``mask / (sum(mask) + POOLING_EPS)``; not normalised.

    Features [b, c, h, w] and masks [b, m, h, w] in [0, 1] -> [b, m, c].
    """
    # Sums of thousands of pixels leave the range in which half precision counts.
    sum_dtype = torch.promote_types(masks.dtype, torch.float32)
    weights = masks / (masks.sum((-2, -1), keepdim=True, dtype=sum_dtype) + POOLING_EPS)
    return torch.einsum('bchw,bmhw->bmc', features, weights.to(features.dtype))
