"""The text tower of CLIP, fed with tokens or with word embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..transformer import Transformer, token_at


class CLIPTextTower(nn.Module):
    """CLIP's causal text transformer under OpenAI's parameter names; arguments as in ``CLIP``."""

    def __init__(
        self,
        context_length: int,
        vocab_size: int,
        width: int,
        layers: int,
        embed_dim: int,
        heads: int | None = None,
        activation: str = 'quick_gelu',
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.context_length = context_length
        self.heads = heads or max(width // 64, 1)
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(context_length, width))
        self.transformer = Transformer(width, layers, self.heads, activation, with_cp)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def encode_words(self, words: Tensor, lengths: Tensor) -> Tensor:
        at_end = self.transformer.read(self._add_positions(words), lengths - 1, causal=True)
        return self.ln_final(at_end) @ self.text_projection

    def encode_continuations(self, prefix: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """What texts share is computed once."""
        begun = len(prefix)
        self._check_length(begun + words.shape[1])
        positions = self.positional_embedding[: begun + words.shape[1]]
        hidden = self.transformer.continue_prefix(
            prefix + positions[:begun], words + positions[begun:]
        )
        return self.ln_final(token_at(hidden, lengths - 1)[:, 0]) @ self.text_projection

    def hidden_states(self, words: Tensor) -> Tensor:
        """Before the final norm."""
        return self.transformer(self._add_positions(words), causal=True)

    def _add_positions(self, words: Tensor) -> Tensor:
        self._check_length(words.shape[1])
        return words + self.positional_embedding[: words.shape[1]]

    def _check_length(self, length: int) -> None:
        if length > self.context_length:
            raise ValueError(
                f'expected texts of at most {self.context_length} tokens, but got {length}; set '
                'context_length in the tokenising transform'
            )
