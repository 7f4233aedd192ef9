"""Learnt context tokens in front of a noun (KgCoOp)."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.models.backbones.clip import CLIPTextEncoder
from code_mm.registry import MODELS
from code_mm.tokenizers import end_of_text_index, tokenize


@MODELS.register_module()
class NounContextPrompt(BaseModule):
    """Embeds nouns as ``[start][contexts][noun tokens][end]`` with a frozen text tower.

    The contexts are shared by all nouns and learnt (KgCoOp, Yao et al., CVPR 2023; thesis §3.2).

    Args:
        width (int): Channels of the text tower's word embeddings.
        num_contexts (int): Learnt context tokens.
    """

    def __init__(self, width: int, num_contexts: int = 16) -> None:
        super().__init__()
        self.contexts = nn.Parameter(torch.empty(num_contexts, width))
        nn.init.normal_(self.contexts, std=0.02)

    @property
    def num_contexts(self) -> int:
        """The number of learnt context tokens."""
        return len(self.contexts)

    @torch.no_grad()
    def copy_from(self, text_encoder: CLIPTextEncoder) -> None:
        """Start from the word embeddings that follow the start token of 'A photo of x x x ...'."""
        phrase = 'A photo of' + ' x' * self.num_contexts
        ids = tokenize([phrase], context_length=self.num_contexts + 8)
        ids = ids[:, 1 : 1 + self.num_contexts].to(self.contexts.device)
        self.contexts.copy_(text_encoder.token_embedding(ids)[0])

    def check_length(self, length: int, text_encoder: CLIPTextEncoder) -> None:
        """Raise a ValueError where nouns of ``length`` tokens and the contexts do not fit."""
        longest = text_encoder.context_length - self.num_contexts
        if length > longest:
            raise ValueError(
                f'expected noun_ids of at most {longest} tokens (the context length '
                f'{text_encoder.context_length} less {self.num_contexts} learnt contexts), but '
                f'got {length}; set noun_context_length={longest} in TokenizeCaption'
            )

    def forward(self, noun_ids: Tensor, text_encoder: CLIPTextEncoder) -> Tensor:
        """Embed nouns.

        Args:
            noun_ids (Tensor): Token ids with start and end token [n, l_noun]; together with the
                contexts they must fit the text tower.
            text_encoder (CLIPTextEncoder): The (frozen) text tower.

        Returns:
            Tensor: Unit-length noun embeddings [n, c].
        """
        self.check_length(noun_ids.shape[1], text_encoder)
        words = text_encoder.token_embedding(noun_ids)
        # All nouns have the start token and the contexts before them.
        prefix = torch.cat([words[0, :1], self.contexts.to(words.dtype)])
        end = end_of_text_index(noun_ids) - 1
        embed = text_encoder.encode_continuations(prefix, words[:, 1:], end)
        return embed / embed.norm(dim=-1, keepdim=True)
