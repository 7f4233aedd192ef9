"""Class names that a model can hardly tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .class_query import ClassQuery


@dataclass(frozen=True)
class ClassConfusion:
    """Cosine similarities of class names, as the model embeds them."""

    pairs: list[tuple[str, str, float]]
    """Two class names and their similarity in [-1, 1], most similar first."""
    limit: float
    """Similarity that a pair must reach to be in :attr:`confusable`."""

    @property
    def confusable(self) -> list[tuple[str, str, float]]:
        """The pairs at or above the limit."""
        return [pair for pair in self.pairs if pair[2] >= self.limit]


@torch.no_grad()
def confusable_class_names(
    model: torch.nn.Module, words: tuple[str, ...], quantile: float = 0.95
) -> ClassConfusion:
    """Compare the embeddings of class names with each other.

    Pixels are compared with the same embeddings, so classes of nearly equal ones share their
    pixels more or less by chance. What is similar depends on the model, hence a quantile rather
    than a fixed similarity. Synonyms count for their class with the most similar one.

    Args:
        model (torch.nn.Module): A ``ZeroShotSegmentor``; its classes are set to ``words``.
        words (tuple[str, ...]): At least two class names without background.
        quantile (float): Pairs above this quantile of all pairs are confusable, in [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f'expected a quantile in [0, 1], but got {quantile}')
    if len(words) < 2:
        raise ValueError(f'expected at least two class names to compare, but got {words}')
    ClassQuery(words, None).put_to(model)
    embeddings = model.decode_head.class_embeddings.float().cpu()
    owner = torch.tensor([i for i, word in enumerate(words) for _ in word.split('|')])
    cosine = embeddings @ embeddings.T
    pairs = []
    for i in range(len(words)):
        for j in range(i + 1, len(words)):
            between = cosine[owner == i][:, owner == j]
            pairs.append((words[i], words[j], float(between.max())))
    pairs.sort(key=lambda pair: -pair[2])
    limit = torch.tensor([pair[2] for pair in pairs]).quantile(quantile)
    return ClassConfusion(pairs, float(limit))
