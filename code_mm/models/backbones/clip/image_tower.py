"""The image tower of CLIP, read as one embedding or densely, and the copy that learns."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.registry import MODELS

from ..interface import ImageTail
from ..transformer import Transformer


class PatchTokens(NamedTuple):
    """Tokens of an image on their patch grid, the class token beside them.

    Attributes:
        tokens (Tensor): [b, h * w, width], rows of the grid one after another.
        grid (tuple[int, int]): Height and width of the grid, in patches.
        class_token (Tensor, optional): [b, 1, width].
    """

    tokens: Tensor
    grid: tuple[int, int]
    class_token: Tensor | None = None

    def to_map(self, values: Tensor | None = None) -> Tensor:
        """Lay tokens (or ``values`` [b, h * w, c] computed from them) out as [b, c, h, w]."""
        values = self.tokens if values is None else values
        return values.transpose(1, 2).unflatten(2, self.grid)


class CLIPImageTower(nn.Module):
    """CLIP's vision transformer under OpenAI's parameter names; arguments as those of ``CLIP``."""

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        layers: int,
        embed_dim: int,
        heads: int | None = None,
        activation: str = 'quick_gelu',
        with_cp: bool = False,
        dense_attention: dict | None = None,
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f'expected at least 2 vision layers, but got {layers}')
        if image_size % patch_size:
            raise ValueError(
                f'expected an image_size that is a multiple of the patch size {patch_size}, '
                f'but got {image_size}'
            )
        self.patch_size, self.width = patch_size, width
        self.heads = heads or max(width // 64, 1)
        self.base_grid = image_size // patch_size
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        scale = width**-0.5
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(1 + self.base_grid**2, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, self.heads, activation, with_cp)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))
        self.dense_attention = MODELS.build(dense_attention or dict(type='SelfOnlyAttention'))

    def encode(self, image: Tensor) -> Tensor:
        """Embed whole images through the class token."""
        tokens, _ = self._embed(image)
        return self.ln_post(self.transformer.read(tokens, 0)) @ self.proj

    def trunk(self, image: Tensor) -> PatchTokens:
        """Tokens after all blocks but the last; pixels beyond the last whole patch are not seen."""
        tokens, grid = self._embed(image)
        for block in self.transformer.resblocks[:-1]:
            tokens = block(tokens)
        return PatchTokens(tokens[:, 1:], grid, tokens[:, :1])

    def dense(self, trunk: PatchTokens) -> Tensor:
        """Dense features by way of ``dense_attention``."""
        last = self.transformer.resblocks[-1]
        tokens = self.dense_attention(last, trunk.tokens, trunk.class_token, trunk.grid)
        return trunk.to_map(self.ln_post(tokens) @ self.proj)

    def _embed(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patch embedding with the class token in front: [b, 1 + h * w, width] and the grid."""
        # side by side: min() would tell an exporter which side is the shorter one
        if any(side < self.patch_size for side in image.shape[-2:]):
            raise ValueError(
                f'expected images of at least {self.patch_size} x {self.patch_size} pixels (one '
                f'patch), but got {tuple(image.shape[-2:])}; resize or pad them first'
            )
        patches = self.conv1(image)  # b width h w
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(patches.shape[0], 1, -1), patches], dim=1)
        return self.ln_pre(tokens + self._positions(grid)), grid

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Position embedding for a grid; bicubic interpolation of the trained square one."""
        if grid == (self.base_grid, self.base_grid):
            return self.positional_embedding
        square = self.positional_embedding[1:].unflatten(0, (self.base_grid, self.base_grid))
        resized = F.interpolate(
            square.permute(2, 0, 1)[None], size=grid, mode='bicubic', align_corners=False
        )
        return torch.cat([self.positional_embedding[:1], resized[0].flatten(1).T])


class CLIPImageTail(ImageTail):
    """A copy of CLIP's last block, final norm and projection, with a reading of its own."""

    def __init__(self, tower: CLIPImageTower, dense_attention: dict | None = None) -> None:
        super().__init__()
        self.width = tower.width
        self.block = copy.deepcopy(tower.transformer.resblocks[-1])
        self.dense_attention = MODELS.build(dense_attention or dict(type='SelfOnlyAttention'))
        self.ln_post = copy.deepcopy(tower.ln_post)
        self.proj = nn.Parameter(tower.proj.detach().clone())
        self.requires_grad_(True)

    def last_block(self, trunk: PatchTokens) -> Tensor:
        tokens = self.dense_attention(self.block, trunk.tokens, trunk.class_token, trunk.grid)
        return trunk.to_map(tokens)

    def project(self, features: Tensor) -> Tensor:
        return (self.ln_post(features.movedim(1, -1)) @ self.proj).movedim(-1, 1)
