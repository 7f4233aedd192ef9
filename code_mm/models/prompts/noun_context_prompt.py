"""Learnt context tokens in front of a noun (KgCoOp)."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS

from ..backbones import VisionLanguageBackbone


@MODELS.register_module()
class NounContextPrompt(BaseModule):
    """Embeds nouns as ``[start][contexts][noun tokens][end]`` with a frozen text tower.

    The contexts are shared by all nouns and learnt (KgCoOp, Yao et al., CVPR 2023; thesis §3.2).

    Args:
        text_width (int): Channels of the backbone's word embeddings.
        num_contexts (int): Learnt context tokens.
    """

    def __init__(self, text_width: int, num_contexts: int = 16) -> None:
        super().__init__()
        if num_contexts < 1:
            raise ValueError(f'expected num_contexts >= 1, but got {num_contexts}')
        self.contexts = nn.Parameter(torch.empty(num_contexts, text_width))
        nn.init.normal_(self.contexts, std=0.02)

    @property
    def num_contexts(self) -> int:
        """The number of learnt context tokens."""
        return len(self.contexts)

    @torch.no_grad()
    def copy_from(self, backbone: VisionLanguageBackbone) -> None:
        """Start from the word embeddings that follow the start token of 'A photo of x x x ...'."""
        phrase = 'A photo of' + ' x' * self.num_contexts
        start = len(backbone.tokenizer.start_ids)
        ids = backbone.tokenize(phrase, self.num_contexts + 8)[:, start:][:, : self.num_contexts]
        self.contexts.copy_(backbone.embed_tokens(ids.to(self.contexts.device))[0])

    def check_length(self, length: int, backbone: VisionLanguageBackbone) -> None:
        """Raise a ValueError where nouns of ``length`` tokens and the contexts do not fit."""
        longest = backbone.context_length - self.num_contexts
        if length > longest:
            raise ValueError(
                f'expected noun_ids of at most {longest} tokens (the context length '
                f'{backbone.context_length} less {self.num_contexts} learnt contexts), but '
                f'got {length}; set noun_context_length={longest} in TokenizeCaption'
            )

    def forward(self, noun_ids: Tensor, backbone: VisionLanguageBackbone) -> Tensor:
        """Unit-length embeddings [n, c] of nouns.

        ``noun_ids`` [n, l_noun] have start and end token; the backbone's text tower embeds.
        """
        self.check_length(noun_ids.shape[1], backbone)
        words = backbone.embed_tokens(noun_ids)
        start = len(backbone.tokenizer.start_ids)
        # All nouns have the start token and the contexts before them.
        prefix = torch.cat([words[0, :start], self.contexts.to(words.dtype)])
        lengths = backbone.text_lengths(noun_ids) - start
        embed = backbone.encode_continuations(prefix, words[:, start:], lengths)
        return embed / embed.norm(dim=-1, keepdim=True)
