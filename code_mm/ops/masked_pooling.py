"""Mean of dense features over a soft mask."""

import torch
from torch import Tensor

POOLING_EPS = 1e-6
"""Added to the area (a number of pixels) so that an empty mask pools to zero."""


def masked_pooling(features: Tensor, masks: Tensor, eps: float = POOLING_EPS) -> Tensor:
    """Pools features by each mask, weights ``mask / (sum(mask) + eps)``.

    The result is not normalised; the contrastive losses do that. Mask rows may
    be the k * b image-noun pairs of b images (noun slot outermost): row
    ``j * b + i`` then pools image i, and the features are not repeated k times.

    Args:
        features: [b, c, h, w].
        masks: [n, m, h, w] with n a multiple of b, values in [0, 1].
        eps: see `POOLING_EPS`.

    Returns:
        [n, m, c], dtype of the product of both under autocast.

    Raises:
        ValueError: if n is no multiple of b or the grids differ.
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
    pooled = torch.einsum('bchw,kbmhw->kbmc', features, weights)
    return pooled.flatten(0, 1)
