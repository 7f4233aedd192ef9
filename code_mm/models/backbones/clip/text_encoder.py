"""The text tower of CLIP, fed with tokens or with word embeddings."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS
from code_mm.tokenizers import end_of_text_index

from .loading import init_from_clip_file
from .transformer import Transformer, token_at


# mmseg has a CLIPTextEncoder of its own (tokens only, no gradient): ours has the scope in front.
@MODELS.register_module()
class CLIPTextEncoder(BaseModule):
    """CLIP's causal text transformer (Radford et al., 2021).

    Gradients pass through to its inputs even when its parameters are frozen, which the learnt
    contexts (thesis §3.2) and the word highlighting prompt (§3.3) need.

    Args:
        context_length (int): Text positions, at most.
        vocab_size (int): Rows of the token embedding.
        width (int): Channels of the tokens.
        layers (int): Transformer blocks.
        embed_dim (int): Channels of the joint embedding.
        heads (int, optional): Attention heads; ``width // 64`` (at least 1) by default.
        frozen (bool): Take all parameters out of training.
        activation (str): 'quick_gelu' (OpenAI) or 'gelu' (most CLIPs of open_clip).
        with_cp (bool): Activation checkpointing, see ``Transformer``.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with the file
            of a whole CLIP.
    """

    def __init__(
        self,
        context_length: int = 77,
        vocab_size: int = 49408,
        width: int = 512,
        layers: int = 12,
        embed_dim: int = 512,
        heads: int | None = None,
        frozen: bool = True,
        activation: str = 'quick_gelu',
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.context_length, self.width, self.embed_dim = context_length, width, embed_dim
        self.activation = activation
        self.heads = heads or max(width // 64, 1)
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(context_length, width))
        self.transformer = Transformer(width, layers, self.heads, activation, with_cp)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        if frozen:
            self.requires_grad_(False)

    def init_weights(self) -> None:
        """Load this tower from the CLIP file that ``init_cfg`` names."""
        init_from_clip_file(self, tower='text.')
        self._is_init = True

    def forward(self, token_ids: Tensor) -> Tensor:
        """Embed texts: token ids [b, l] -> [b, c], not normalised."""
        return self.encode_words(self.token_embedding(token_ids), end_of_text_index(token_ids))

    def encode_words(self, words: Tensor, end: Tensor) -> Tensor:
        """Embed texts given as word embeddings, before positions are added.

        Args:
            words (Tensor): [b, l, width].
            end (Tensor): Index of the end-of-text position of each text, [b].

        Returns:
            Tensor: [b, c], read at the end-of-text position, not normalised.
        """
        at_end = self.transformer.read(self._add_positions(words), end, causal=True)
        return self.ln_final(at_end) @ self.text_projection

    def encode_continuations(self, prefix: Tensor, words: Tensor, end: Tensor) -> Tensor:
        """Embed texts that begin with the same words; what they share is computed once.

        Args:
            prefix (Tensor): Word embeddings that every text begins with [p, width].
            words (Tensor): What follows in each text [b, l, width].
            end (Tensor): Index in ``words`` of the end-of-text position of each text, [b].

        Returns:
            Tensor: What :meth:`encode_words` gives for the whole texts, [b, c].
        """
        begun = len(prefix)
        self._check_length(begun + words.shape[1])
        positions = self.positional_embedding[: begun + words.shape[1]]
        hidden = self.transformer.continue_prefix(
            prefix + positions[:begun], words + positions[begun:]
        )
        return self.ln_final(token_at(hidden, end)[:, 0]) @ self.text_projection

    def hidden_states(self, token_ids: Tensor) -> Tensor:
        """Last hidden state of every position, before the final norm: [b, l, width]."""
        words = self._add_positions(self.token_embedding(token_ids))
        return self.transformer(words, causal=True)

    def _add_positions(self, words: Tensor) -> Tensor:
        self._check_length(words.shape[1])
        return words + self.positional_embedding[: words.shape[1]]

    def _check_length(self, length: int) -> None:
        if length > self.context_length:
            raise ValueError(
                f'expected texts of at most {self.context_length} tokens, but got {length}; set '
                'context_length in the tokenising transform'
            )
