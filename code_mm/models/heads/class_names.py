"""Rules for class names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def phrases_by_class(names: Sequence[str], background: bool) -> list[list[str]]:
    """The phrases that stand for each class that is looked for in the image.

    A class name may give several synonyms, ``'car|automobile'``.

    Args:
        names (Sequence[str]): All class names.
        background (bool): The first class is a background without an embedding of its own.

    Returns:
        list[list[str]]: Synonyms of every class but that background.

    Raises:
        ValueError: A name is empty; the first is not 'background' though it should be; or a single
            class is left with nothing to compare it with.
    """
    # A single string would fall into its letters.
    listed = [] if isinstance(names, str) else list(names)
    phrases = [_synonyms(name) if isinstance(name, str) else [] for name in listed]
    if not listed or not all(phrases):
        raise ValueError(f'expected a list of non-empty class names, but got {names!r}')
    if background and (listed[0] != 'background' or len(listed) < 2):
        raise ValueError(
            "expected 'background' as the first of at least two class names because "
            f'background_threshold is set, but got {listed[:5]}; set background_threshold=None '
            'for a data set without background class'
        )
    if len(listed) == 1:
        raise ValueError(
            f'expected at least two classes, but got {listed}: every pixel would be this class; '
            "add a class, or 'background' in front and a background_threshold"
        )
    return phrases[1:] if background else phrases


def best_synonym(scores: Tensor, synonyms_per_class: Sequence[int]) -> Tensor:
    """Maximum over the synonyms of every class: [b, phrases, h, w] -> [b, classes, h, w]."""
    if max(synonyms_per_class) == 1:
        return scores
    parts = scores.split(list(synonyms_per_class), dim=1)
    return torch.stack([part.amax(dim=1) for part in parts], dim=1)


def _synonyms(name: str) -> list[str]:
    return [phrase.strip() for phrase in name.split('|') if phrase.strip()]
