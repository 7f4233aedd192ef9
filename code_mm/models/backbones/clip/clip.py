"""CLIP: both towers in one module."""

from __future__ import annotations

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS

from .image_encoder import CLIPImageEncoder
from .loading import init_from_clip_file
from .text_encoder import CLIPTextEncoder


@MODELS.register_module()
class CLIP(BaseModule):
    """One CLIP that serves every use in CoDe; the defaults are ViT-B/16.

    Args:
        embed_dim (int): Channels of the joint embedding.
        image_size (int): Side of the training images in pixels.
        patch_size (int): Side of a patch in pixels.
        vision_width, vision_layers, vision_heads: Size of the image tower.
        context_length (int): Text positions.
        vocab_size (int): Rows of the token embedding.
        text_width, text_layers, text_heads: Size of the text tower.
        frozen (bool): Parameters never move (gradients still flow through to the inputs).
        activation (str): 'quick_gelu' (OpenAI) or 'gelu' (most CLIPs of open_clip).
        with_cp (bool): Activation checkpointing: a training step needs less memory and more time.
        dense_attention (dict, optional): How dense features are read, see ``CLIPImageEncoder``.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=path)``; the file may be
            OpenAI's archive, or in the layout of OpenAI, open_clip or Hugging Face
            (docs/weights.md).
    """

    def __init__(
        self,
        embed_dim: int = 512,
        image_size: int = 224,
        patch_size: int = 16,
        vision_width: int = 768,
        vision_layers: int = 12,
        vision_heads: int | None = None,
        context_length: int = 77,
        vocab_size: int = 49408,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int | None = None,
        frozen: bool = True,
        activation: str = 'quick_gelu',
        with_cp: bool = False,
        dense_attention: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dim, self.frozen, self.activation = embed_dim, frozen, activation
        last = (frozen, activation, with_cp)
        self.visual = CLIPImageEncoder(
            image_size,
            patch_size,
            vision_width,
            vision_layers,
            embed_dim,
            vision_heads,
            *last,
            dense_attention=dense_attention,
        )
        self.text = CLIPTextEncoder(
            context_length, vocab_size, text_width, text_layers, embed_dim, text_heads, *last
        )
        # ln(1 / temperature), CLIP's own start value
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)), requires_grad=not frozen)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.visual.patch_size

    def init_weights(self) -> None:
        """Load the file that ``init_cfg`` names; random weights, said aloud, without one."""
        init_from_clip_file(self)
        self._is_init = True

    def encode_image(self, image: Tensor) -> Tensor:
        """Embed whole images [b, 3, H, W] -> [b, c], not normalised."""
        return self.visual.encode(image)

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """Embed texts given as token ids [b, l] -> [b, c], not normalised."""
        return self.text(token_ids)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Dense image features as a mmseg backbone gives them: a tuple of one map [b, c, h, w]."""
        return self.visual(image)
