"""Other readings of CLIP's last block; each has the class token among what is attended to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from code_mm.models.backbones.clip import DenseAttention, with_class_token
from code_mm.registry import MODELS


@MODELS.register_module()
class CorrelativeSelfAttention(DenseAttention):
    """SCLIP (Wang et al., ECCV 2024, https://arxiv.org/abs/2312.01597).

    The attention of the last block is ``softmax(q q^T / sqrt(d)) + softmax(k k^T / sqrt(d))``, a
    sum whose rows add up to 2, applied to the values. Residual connections and feed-forward are
    kept.
    """

    def forward(self, block, patches, class_token, grid) -> Tensor:
        normed = block.ln_1(with_class_token(patches, class_token))
        query, key, value = (block.attn.project(normed, n) for n in ('query', 'key', 'value'))
        attended = sum(
            F.scaled_dot_product_attention(likeness[:, :, 1:], likeness, value)
            for likeness in (query, key)
        )  # b heads h*w d
        tokens = patches + block.attn.join_heads(attended)
        return tokens + block.mlp(block.ln_2(tokens))


@MODELS.register_module()
class SelfSelfAttention(DenseAttention):
    """ClearCLIP (Lan et al., ECCV 2024, https://arxiv.org/abs/2407.12442).

    Patches attend by the similarity of one kind of projection with itself,
    ``softmax(q q^T / sqrt(d)) v``. The last block's residual connections and feed-forward are left
    out: the output of the attention is the dense token.

    Args:
        which (str): What is compared with itself: 'query' (ClearCLIP), 'key' or 'value'.

    Raises:
        ValueError: Another ``which``.
    """

    def __init__(self, which: str = 'query') -> None:
        super().__init__()
        kinds = ('query', 'key', 'value')
        if which not in kinds:
            raise ValueError(f'expected which to be one of {kinds}, but got {which!r}')
        self.which = which

    def forward(self, block, patches, class_token, grid) -> Tensor:
        normed = block.ln_1(with_class_token(patches, class_token))
        likeness, value = (block.attn.project(normed, n) for n in (self.which, 'value'))
        attended = F.scaled_dot_product_attention(likeness[:, :, 1:], likeness, value)
        return block.attn.join_heads(attended)


@MODELS.register_module()
class NeighbourhoodAttention(DenseAttention):
    """NACLIP (Hajimiri et al., WACV 2025, https://arxiv.org/abs/2404.08181).

    ``softmax(k k^T / sqrt(d) + g) v``, where ``g = exp(-distance^2 / (2 std^2))`` of two patches is
    a Gaussian with peak 1, and 0 for the class token. The last block's residual connections and
    feed-forward are left out.

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

    def forward(self, block, patches, class_token, grid) -> Tensor:
        normed = block.ln_1(with_class_token(patches, class_token))
        key, value = (block.attn.project(normed, n) for n in ('key', 'value'))
        prior = F.pad(self.patch_gaussian(grid, key.device), (1, 0))  # 0 for the class token
        attended = F.scaled_dot_product_attention(
            key[:, :, 1:], key, value, attn_mask=prior.to(key.dtype)
        )
        return block.attn.join_heads(attended)

    def patch_gaussian(self, grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
        """Gaussian of the distance of every two patches [h * w, h * w], fp32 in (0, 1]."""
        positions = (torch.arange(n, dtype=torch.float32, device=device) for n in grid)
        rows, columns = (
            (-(position[:, None] - position).square() / (2 * self.std**2)).exp()
            for position in positions
        )
        # the Gaussian of the plane is a product; torch.kron, in ONNX, mixes free sizes up
        return (rows[:, None, :, None] * columns[:, None]).flatten(2).flatten(0, 1)
