"""What data and models ask of a tokenizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Tokenizer(ABC):
    """Turns texts into rows ``[start tokens] tokens [end token] padding``.

    A vision-language backbone owns one; the loader's workers build another of the same config
    (``TokenizeCaption``). Subclasses are registered in ``TOKENIZERS``.
    """

    start_ids: tuple[int, ...] = ()
    """Tokens in front of every text."""
    end_id: int
    """The token behind every text."""
    padding_id: int = 0
    """Fills what is left of a row."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of a text without start, end and padding; empty for a blank text."""

    def tokenize(
        self, texts: str | Sequence[str], length: int = 77, truncate: bool = True
    ) -> Tensor:
        """Rows of token ids as a text tower takes them.

        Args:
            texts (str | Sequence[str]): One text or n texts.
            length (int): Positions l of a row, more than start and end tokens.
            truncate (bool): Cut texts that do not fit (the row still ends with the end token);
                False: raise an error, as for words that a user asks for.

        Returns:
            Tensor: int64 [n, l].

        Raises:
            ValueError: ``length`` is too small, or a text is too long and not to be cut.
        """
        start, room = len(self.start_ids), length - len(self.start_ids) - 1
        if room < 0:
            raise ValueError(f'expected a length >= {start + 1} (start and end), but got {length}')
        texts = [texts] if isinstance(texts, str) else texts
        rows = np.full((len(texts), length), self.padding_id, np.int64)
        rows[:, :start] = self.start_ids
        for row, text in zip(rows, texts, strict=True):
            ids = self.encode(text)
            if not truncate and len(ids) > room:
                raise ValueError(
                    f"expected texts that fit the model's text context, but {text!r} takes "
                    f'{len(ids)} tokens where {room} fit; use a shorter phrase'
                )
            end = start + min(len(ids), room)
            row[start:end], row[end] = ids[: end - start], self.end_id
        return torch.from_numpy(rows)

    def text_lengths(self, ids: Tensor) -> Tensor:
        """Positions up to and with the first end token: ids [..., l] -> int64 [...]."""
        return (ids == self.end_id).int().argmax(-1) + 1

    def word_positions(self, ids: Tensor) -> Tensor:
        """Which positions hold the text itself, not start, end or padding: [b, l] -> bool."""
        position = torch.arange(ids.shape[-1], device=ids.device)
        return (position >= len(self.start_ids)) & (position < self.text_lengths(ids)[:, None] - 1)
