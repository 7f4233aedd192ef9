"""What CoDe, its head and its prompts ask of a vision-language model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.tokenizers import Tokenizer


class ImageTail(nn.Module):
    """A trainable copy of what stands between a backbone's trunk and its dense features.

    Attributes:
        width (int): Channels between the two halves, where a decoder may be put.
    """

    width: int

    @abstractmethod
    def last_block(self, trunk: Any) -> Tensor:
        """The trunk's value -> features [b, width, h, w] on the patch grid."""

    @abstractmethod
    def project(self, features: Tensor) -> Tensor:
        """Features [b, width, h, w] of any grid -> joint space [b, c, h, w], not normalised."""


class VisionLanguageBackbone(BaseModule):
    """An image tower and a text tower that embed into one space, and their tokenizer.

    Nothing else is asked of a backbone: whether there is a class token, causal attention or an end
    token is its own affair. Gradients pass to the inputs of ``encode_image``, ``encode_text``
    and ``encode_words`` also where the parameters are frozen.

    Attributes:
        embed_dim (int): Channels c of the joint space.
        patch_size (int): Pixels per step of the patch grid; images are padded to a multiple.
        context_length (int): Text positions l, at most.
        text_width (int): Channels w of word embeddings and hidden states.
        text_heads (int): Attention heads for further blocks on the hidden states.
        tokenizer (Tokenizer): Its own.
        image_mean, image_std (Sequence[float]): Statistics of its training images, RGB, 0..255.
        logit_scale (Tensor): ln of the factor on cosines, 0-d.
    """

    embed_dim: int
    patch_size: int
    context_length: int
    text_width: int
    text_heads: int
    tokenizer: Tokenizer
    image_mean: Sequence[float]
    image_std: Sequence[float]
    logit_scale: Tensor

    @abstractmethod
    def encode_image(self, image: Tensor) -> Tensor:
        """Embed whole images [b, 3, H, W] -> [b, c], not normalised."""

    @abstractmethod
    def trunk(self, image: Tensor) -> Any:
        """What :meth:`dense` and an ``ImageTail`` start from; opaque to callers."""

    @abstractmethod
    def dense(self, trunk: Any) -> Tensor:
        """Dense features in the joint space [b, c, h, w], not normalised."""

    @abstractmethod
    def image_tail(self, **keys) -> ImageTail:
        """A trainable copy of what follows the trunk, with the present weights."""

    @abstractmethod
    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Word embeddings [n, l, w] of token ids [n, l], before positions are added."""

    @abstractmethod
    def encode_words(self, words: Tensor, lengths: Tensor) -> Tensor:
        """Embed texts given as word embeddings.

        Args:
            words (Tensor): [n, l, w], start and end token included.
            lengths (Tensor): Positions of each text up to and with its end token, [n]; what
                stands behind has no influence.

        The result is [n, c], not normalised.
        """

    @abstractmethod
    def hidden_states(self, ids: Tensor) -> Tensor:
        """Last hidden state of every position [n, l, w] of texts [n, l]."""

    def encode_text(self, ids: Tensor) -> Tensor:
        """Embed texts given as token ids [n, l] -> [n, c], not normalised."""
        return self.encode_words(self.embed_tokens(ids), self.text_lengths(ids))

    def encode_continuations(self, prefix: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """:meth:`encode_words` of texts that begin alike.

        Args:
            prefix (Tensor): Word embeddings that every text begins with [p, w].
            words (Tensor): What follows in each text [n, l, w].
            lengths (Tensor): Positions of ``words`` up to and with each end token, [n].
        """
        whole = torch.cat([prefix.expand(len(words), -1, -1), words], dim=1)
        return self.encode_words(whole, lengths + len(prefix))

    def tokenize(
        self, texts: str | Sequence[str], length: int | None = None, truncate: bool = True
    ) -> Tensor:
        """Token ids [n, length], see ``Tokenizer.tokenize``; by default all positions."""
        return self.tokenizer.tokenize(texts, length or self.context_length, truncate)

    def text_lengths(self, ids: Tensor) -> Tensor:
        """Positions up to and with the end token: ids [..., l] -> [...]."""
        return self.tokenizer.text_lengths(ids)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Dense features as a mmseg backbone gives them: a tuple of one map [b, c, h, w]."""
        return (self.dense(self.trunk(image)),)
