"""Token labels: which token of a caption belongs to which selected noun."""

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor

from code_mm.tokenizers import Tokenizer


def token_labels(
    caption_ids: Tensor, nouns: Sequence[str], selected: Sequence[str], tokenizer: Tokenizer
) -> Tensor:
    """The text segmenter's pseudo label of every position of a caption (thesis §3.2.2).

    −1 (ignored) everywhere but at tokens of nouns: 0 at those of nouns that were
    not selected, ``j`` at those of the ``j``-th selected noun, counted from 1::

        start a   dog and a   cat end  0      selected: cat, not dog
        −1    −1  0   −1  −1  1   −1   −1

    A noun is found wherever its token sequence occurs in the caption's: at every
    occurrence, in any case, also inside a longer word whose pieces coincide
    ("sheep|dog" holds "dog"). Selected nouns override others, and later ones
    earlier ones. What truncation cut away, or never was there, gets no label.

    Args:
        caption_ids (Tensor): Ids of the caption, int64 [l].
        nouns (Sequence[str]): All nouns of the caption.
        selected (Sequence[str]): The k nouns drawn for this visit.
        tokenizer (Tokenizer): The one that made the ids.

    Returns:
        Tensor: Labels in [-1, k], int64 [l].
    """
    ids = caption_ids.tolist()
    labels = [-1] * len(ids)
    for name, label in [*((noun, 0) for noun in nouns), *zip(selected, count(1))]:
        pattern = tokenizer.encode(name)
        for start in _occurrences(ids, pattern):
            labels[start : start + len(pattern)] = [label] * len(pattern)
    return torch.from_numpy(np.array(labels, np.int64))  # new_tensor takes several times as long


def _occurrences(ids: list[int], pattern: list[int]) -> Iterator[int]:
    """Start positions of ``pattern`` in ``ids``; none for an empty pattern."""
    start = -1
    for _ in range(ids.count(pattern[0]) if pattern else 0):
        start = ids.index(pattern[0], start + 1)
        if ids[start : start + len(pattern)] == pattern:
            yield start
