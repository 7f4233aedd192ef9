"""The image segmenter: dense features on a grid four times as fine as the patches'."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.models.backbones.clip import (
    CLIPImageEncoder,
    PatchTokens,
    ResidualAttentionBlock,
    run_checkpointed,
)
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS

from .gated_upsampling import GatedUpsampling


@MODELS.register_module()
class ImageSegmenter(BaseModule):
    """The image segmenter of TCL (Cha et al., CVPR 2023), which CoDe uses (thesis §3.2).

    A trainable copy of CLIP's last block, a gated decoder that doubles the grid
    ``num_upsamplings`` times, and a trainable copy of CLIP's final norm and projection. It starts
    from the dense features of ``dense_attention``: MaskCLIP's, as in TCL and CoDe, by default.

    Args:
        width (int): Channels of the patch tokens.
        heads (int): Attention heads of the block (without influence in MaskCLIP's reading).
        embed_dim (int): Channels of the joint embedding.
        num_upsamplings (int): Doublings of the patch grid.
        init_gate (float): Start value of the decoder's gates.
        activation (str): CLIP's own, see ``CLIP``.
        dense_attention (dict, optional): How the block is run, in training too, see
            ``CLIPImageEncoder``; its own key, whatever CLIP's is.
        with_cp (bool): Activation checkpointing of the decoder: less memory, more time.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        embed_dim: int,
        num_upsamplings: int = 2,
        init_gate: float = 0.0,
        activation: str = 'quick_gelu',
        dense_attention: dict | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.block = ResidualAttentionBlock(width, heads, activation)
        self.dense_attention = MODELS.build(dense_attention or dict(type='SelfOnlyAttention'))
        self.decoder = nn.Sequential(
            *(GatedUpsampling(width, init_gate) for _ in range(num_upsamplings))
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    @torch.no_grad()
    def copy_from(self, image_encoder: CLIPImageEncoder) -> None:
        """Start from CLIP's last block, final norm and projection."""
        self.block.load_state_dict(image_encoder.transformer.resblocks[-1].state_dict())
        self.ln_post.load_state_dict(image_encoder.ln_post.state_dict())
        self.proj.copy_(image_encoder.proj)

    def forward(self, trunk: PatchTokens) -> Tensor:
        """Pixel-wise embedding x^v.

        Args:
            trunk (PatchTokens): Tokens of the frozen blocks.

        Returns:
            Tensor: Unit-length features [b, c, h, w] on the mask grid.
        """
        dense = self.dense_attention(self.block, trunk.tokens, trunk.class_token, trunk.grid)
        decoded = run_checkpointed(self.decoder, trunk.to_map(dense), with_cp=self.with_cp)
        projected = self.ln_post(decoded.movedim(1, -1)) @ self.proj  # b h w c
        return l2_normalize(projected, dim=-1).movedim(-1, 1)
