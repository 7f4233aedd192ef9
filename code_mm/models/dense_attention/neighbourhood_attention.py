"""NACLIP: patches attend by the similarity of their keys and to their neighbourhood."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from code_mm.models.backbones.clip import ResidualAttentionBlock
from code_mm.models.backbones.clip.dense_attention import DenseAttention, with_class_token
from code_mm.registry import MODELS


@MODELS.register_module()
class NeighbourhoodAttention(DenseAttention):
    """NACLIP (Hajimiri et al., WACV 2025, https://arxiv.org/abs/2404.08181).

    ``softmax(k k^T / sqrt(d) + g) v``, where ``g = exp(-distance^2 / (2 std^2))`` of two patches is
    a Gaussian with peak 1. The last block's residual connections and feed-forward are left out.
    The class token is attended to without a Gaussian (0), as in the authors' code.

    Args:
        std (float): Standard deviation of the Gaussian, in patches.

    Raises:
        ValueError: ``std`` is not positive.
    """

    def __init__(self, std: float = 5.0) -> None:
        super().__init__()
        if not std > 0:
            raise ValueError(f'expected a std > 0 (in patches), but got {std}')
        self.std = std

    def forward(
        self,
        block: ResidualAttentionBlock,
        patches: Tensor,
        class_token: Tensor | None,
        grid: tuple[int, int],
    ) -> Tensor:
        normed = block.ln_1(with_class_token(patches, class_token))
        key, value = (block.attn.project(normed, n) for n in ('key', 'value'))
        prior = F.pad(patch_gaussian(grid, self.std, key.device), (1, 0))  # 0 for the class token
        attended = F.scaled_dot_product_attention(
            key[:, :, 1:], key, value, attn_mask=prior.to(key.dtype)
        )
        return block.attn.join_heads(attended)


def patch_gaussian(
    grid: tuple[int, int], std: float, device: torch.device | str | None = None
) -> Tensor:
    """Gaussian of the distance of every two patches of a grid, 1 at distance 0.

    Args:
        grid (tuple[int, int]): Height and width, in patches.
        std (float): Standard deviation, in patches.
        device: Where to compute.

    Returns:
        Tensor: [h * w, h * w] in (0, 1], fp32, symmetric.
    """
    rows, columns = (
        (-(position[:, None] - position).square() / (2 * std**2)).exp()
        for position in (torch.arange(float(side), device=device) for side in grid)
    )
    return torch.kron(rows, columns)  # the Gaussian of the plane is a product
