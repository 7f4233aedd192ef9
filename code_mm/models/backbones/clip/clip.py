"""CLIP as a vision-language backbone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from code_mm.registry import MODELS, TOKENIZERS

from ..interface import VisionLanguageBackbone
from .image_tower import CLIPImageTail, CLIPImageTower, PatchTokens
from .loading import init_from_clip_file
from .text_tower import CLIPTextTower


@MODELS.register_module()
class CLIP(VisionLanguageBackbone):
    """CLIP (Radford et al., 2021, https://arxiv.org/abs/2103.00020); the defaults are ViT-B/16.

    One CLIP serves every use in CoDe. As a mmseg backbone it gives dense features, MaskCLIP's
    unless ``dense_attention`` says otherwise.

    Args:
        embed_dim (int): Channels of the joint embedding.
        image_size (int): Side of the training images in pixels.
        patch_size (int): Side of a patch in pixels.
        vision_width, vision_layers, vision_heads (int): Size of the image tower: channels of its
            tokens, blocks (at least 2), attention heads (``width // 64``, at least 1, by default).
        context_length (int): Text positions.
        vocab_size (int): Rows of the token embedding.
        text_width, text_layers, text_heads (int): Size of the text tower.
        frozen (bool): Parameters never move (gradients still flow through to the inputs).
        activation (str): 'quick_gelu' (OpenAI) or 'gelu' (most CLIPs of open_clip).
        with_cp (bool): Activation checkpointing: a training step needs less memory and more time.
        dense_attention (dict, optional): How the last block is read densely: a registered
            ``DenseAttention``; ``SelfOnlyAttention`` (MaskCLIP) by default.
        image_tower (bool): False leaves the image tower out, where only texts are embedded.
        tokenizer (dict, optional): ``CLIPTokenizer`` by default.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=path)``; the file may be
            OpenAI's archive, or in the layout of OpenAI, open_clip or Hugging Face
            (docs/weights.md).
    """

    # OpenAI's; the authors' CoDe normalises by ImageNet's nevertheless (configs/_base_/models)
    image_mean = (122.771, 116.746, 104.094)
    image_std = (68.501, 66.632, 70.323)

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
        image_tower: bool = True,
        tokenizer: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed_dim, self.patch_size, self.activation = embed_dim, patch_size, activation
        self.context_length, self.text_width = context_length, text_width
        self.tokenizer = TOKENIZERS.build(tokenizer or dict(type='CLIPTokenizer'))
        if image_tower:
            sizes = image_size, patch_size, vision_width, vision_layers, embed_dim, vision_heads
            self.visual = CLIPImageTower(*sizes, activation, with_cp, dense_attention)
        sizes = context_length, vocab_size, text_width, text_layers, embed_dim, text_heads
        self.text = CLIPTextTower(*sizes, activation, with_cp)
        self.text_heads = self.text.heads
        # ln(1 / temperature), CLIP's own start value
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        if frozen:
            self.requires_grad_(False)

    def init_weights(self) -> None:
        """Load the file that ``init_cfg`` names; random weights, said aloud, without one."""
        init_from_clip_file(self)
        self._is_init = True

    def encode_image(self, image: Tensor) -> Tensor:
        return self.visual.encode(image)

    def trunk(self, image: Tensor) -> PatchTokens:
        return self.visual.trunk(image)

    def dense(self, trunk: PatchTokens) -> Tensor:
        return self.visual.dense(trunk)

    def image_tail(self, dense_attention: dict | None = None) -> CLIPImageTail:
        """A trainable copy; ``dense_attention`` tells how it reads its block, whatever ours is."""
        return CLIPImageTail(self.visual, dense_attention)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.text.token_embedding(ids)

    def encode_words(self, words: Tensor, lengths: Tensor) -> Tensor:
        return self.text.encode_words(words, lengths)

    def encode_continuations(self, prefix: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        return self.text.encode_continuations(prefix, words, lengths)

    def hidden_states(self, ids: Tensor) -> Tensor:
        return self.text.hidden_states(self.embed_tokens(ids))
