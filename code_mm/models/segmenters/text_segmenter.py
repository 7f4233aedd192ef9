"""The text segmenter: which words of a caption belong to which noun."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.ops import l2_normalize
from code_mm.registry import MODELS

from ..backbones import Transformer


@MODELS.register_module()
class TextSegmenter(BaseModule):
    """Two trainable transformer blocks on the frozen text tower's states (thesis §3.2).

    All positions attend to all, padding included, as in the authors' release.

    Args:
        text_width (int): Channels of the text tower's states.
        text_heads (int): Attention heads.
        num_layers (int): Trainable blocks.
        init_scale (float): Start value of the learnable w of Eq. 3.2.
        init_bias (float): Start value of the learnable b of Eq. 3.2.
        embed_dim (int, optional): Channels of the joint embedding, in which words are compared
            with nouns; where they are not ``text_width``, a projection is learnt.
    """

    def __init__(
        self,
        text_width: int,
        text_heads: int,
        num_layers: int = 2,
        init_scale: float = 10.0,
        init_bias: float = 0.0,
        embed_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.transformer = Transformer(text_width, num_layers, text_heads)
        for block in self.transformer.resblocks:  # as nn.MultiheadAttention, and the release, start
            nn.init.xavier_uniform_(block.attn.in_proj_weight)
        same = embed_dim in (None, text_width)
        self.projection = nn.Identity() if same else nn.Linear(text_width, embed_dim)
        self.scale = nn.Parameter(torch.tensor(float(init_scale)))
        self.bias = nn.Parameter(torch.tensor(float(init_bias)))

    def forward(self, hidden: Tensor) -> Tensor:
        """Word-wise features x^t: hidden states [b, l, width] -> unit length [b, l, c]."""
        return l2_normalize(self.projection(self.transformer(hidden)), dim=-1)

    def logits(self, words: Tensor, nouns: Tensor) -> Tensor:
        """Logits of the k + 1 cases of every position (Eq. 3.2).

        Words [b, l, c] of :meth:`forward` and nouns [n, c], n = k * b, noun slot outermost ->
        [b, k + 1, l]; case 0, 'no selected noun', is the constant 0.
        """
        nouns = nouns.unflatten(0, (-1, len(words)))  # k b c
        similarity = torch.einsum('blc,kbc->bkl', words, nouns)
        logits = self.scale * similarity + self.bias
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1)

    @staticmethod
    def masks(logits: Tensor) -> Tensor:
        """Soft word masks (Eq. 3.3): logits [b, k + 1, l] -> [n, l], noun slot outermost."""
        probability = logits.float().softmax(dim=1)[:, 1:]
        return probability.transpose(0, 1).flatten(0, 1)
