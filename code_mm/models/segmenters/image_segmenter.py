"""The image segmenter: dense features on a grid four times as fine as the patches'."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.ops import conv3x3_after_upsampling, l2_normalize
from code_mm.registry import MODELS

from ..backbones import VisionLanguageBackbone, run_checkpointed


class _LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a map [b, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GatedUpsampling(nn.Module):
    """A layer of the decoder: nearest x2 upsampling, then a gated residual convolution.

    ``x <- up(x); x <- x + tanh(gate) * conv3x3(GELU(LN(x)))``; a closed gate, 0, is plain
    upsampling.
    """

    def __init__(self, channels: int, init_gate: float = 0.0) -> None:
        super().__init__()
        self.norm = _LayerNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Parameter(torch.tensor(float(init_gate)))

    def forward(self, x: Tensor) -> Tensor:
        """Upsample [b, c, h, w] to [b, c, 2h, 2w]."""
        # Norm and activation look at single pixels, so they may come before the upsampling, and
        # the gate may be put on the weights, which are fewer than pixels.
        gate = torch.tanh(self.gate)
        return conv3x3_after_upsampling(
            F.gelu(self.norm(x)), gate * self.conv.weight, gate * self.conv.bias, residual=x
        )


@MODELS.register_module()
class ImageSegmenter(BaseModule):
    """The image segmenter of TCL (Cha et al., CVPR 2023), which CoDe uses (thesis §3.2).

    A trainable copy of the backbone's last block, a gated decoder that doubles the grid
    ``num_upsamplings`` times, and a trainable copy of the backbone's projection. At the start it
    gives the backbone's own dense features, MaskCLIP's for CLIP.

    Args:
        backbone (VisionLanguageBackbone): What it starts from; not kept.
        tail (dict, optional): Keys of ``backbone.image_tail``, such as CLIP's ``dense_attention``.
        num_upsamplings (int): Doublings of the patch grid.
        init_gate (float): Start value of the decoder's gates.
        with_cp (bool): Activation checkpointing of the decoder: less memory, more time.
    """

    def __init__(
        self,
        backbone: VisionLanguageBackbone,
        tail: dict | None = None,
        num_upsamplings: int = 2,
        init_gate: float = 0.0,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp, self.tail_keys = with_cp, dict(tail or {})
        self.tail = backbone.image_tail(**self.tail_keys)
        self.decoder = nn.Sequential(
            *(GatedUpsampling(self.tail.width, init_gate) for _ in range(num_upsamplings))
        )

    @torch.no_grad()
    def copy_from(self, backbone: VisionLanguageBackbone) -> None:
        """Start from the backbone's weights as they are now."""
        self.tail.load_state_dict(backbone.image_tail(**self.tail_keys).state_dict())

    def forward(self, trunk: Any) -> Tensor:
        """Unit-length pixel embeddings x^v [b, c, h, w], on the mask grid, of the trunk's value."""
        features = self.tail.last_block(trunk)
        decoded = run_checkpointed(self.decoder, features, with_cp=self.with_cp)
        return l2_normalize(self.tail.project(decoded), dim=1)
