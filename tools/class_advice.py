"""Advice on class names: which of them a model confuses, and a background threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from code_mm.apis import CoDeInferencer
from code_mm.apis.class_query import ClassQuery

_BINS = 256
# A single bell-shaped group has 0.64, evenly spread scores have 0.75.
_TWO_GROUPS = 0.75


class ClassConfusion(NamedTuple):
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
    model: nn.Module, words: tuple[str, ...], quantile: float = 0.95
) -> ClassConfusion:
    """Compare the embeddings of class names with each other.

    Pixels are compared with the same embeddings, so classes of nearly equal ones share their
    pixels more or less by chance. What is similar depends on the model, hence a quantile rather
    than a fixed similarity. Synonyms count for their class with the most similar one.

    Args:
        model (nn.Module): A ``ZeroShotSegmentor``; its classes are set to ``words``.
        words (tuple[str, ...]): At least two class names without background.
        quantile (float): Pairs above this quantile of all pairs are confusable, in [0, 1].

    Raises:
        ValueError: There are too few names, or it is no quantile.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f'expected a quantile in [0, 1], but got {quantile}')
    if len(words) < 2:
        raise ValueError(f'expected at least two class names to compare, but got {words}')
    ClassQuery(words, None).ask(model)
    embeddings = model.vocabulary.embeddings.float().cpu()
    by_class = embeddings.split([len(word.split('|')) for word in words])
    pairs = [
        (words[i], words[j], float((by_class[i] @ by_class[j].T).max()))
        for i in range(len(words))
        for j in range(i + 1, len(words))
    ]
    pairs.sort(key=lambda pair: -pair[2])
    limit = torch.tensor([pair[2] for pair in pairs]).quantile(quantile)
    return ClassConfusion(pairs, float(limit))


class ThresholdSuggestion(NamedTuple):
    """Where the best scores of all pixels fall into two groups."""

    threshold: float
    """Between the groups, in (0, 1)."""
    separability: float
    """Share of the scores' variance that the two groups explain, in [0, 1]."""
    share_above: float
    """Share of the pixels that would get a class."""
    num_images: int

    @property
    def trustworthy(self) -> bool:
        """Whether there are two groups at all: more apart than evenly spread scores would be."""
        return self.separability > _TWO_GROUPS


def suggest_background_threshold(
    inferencer: CoDeInferencer, images: Iterable, words: tuple[str, ...], batch_size: int = 1
) -> ThresholdSuggestion:
    """Suggest a background threshold for these classes on images like these.

    The score of the best class is taken at every pixel; pixels of the classes score high, others
    low, and the threshold is the one of Otsu (1979) between the two groups. It knows no truth: it
    needs images in which both kinds of pixels are common, and it follows scores, not correctness.
    It holds for these class names and this model only.

    Args:
        inferencer (CoDeInferencer): The model.
        images (Iterable[InputImage]): Tens of images; unreadable ones are skipped with a warning.
        words (tuple[str, ...]): Class names without background.
        batch_size (int): Images at a time.

    Raises:
        ValueError: No image could be read, or all pixels have one score.
    """
    histogram, count = np.zeros(_BINS, np.int64), 0
    for result in inferencer.segment(images, ClassQuery(words, 0.5), batch_size, keep_scores=True):
        histogram += np.histogram(result.scores[1:].max(axis=0), _BINS, (0, 1))[0]
        count += 1
    if not count:
        raise ValueError('expected images that can be read, but there was none')
    threshold, separability = otsu_threshold(histogram)
    above = histogram[np.arange(_BINS) / _BINS >= threshold].sum() / histogram.sum()
    return ThresholdSuggestion(threshold, separability, float(above), count)


def otsu_threshold(histogram: np.ndarray) -> tuple[float, float]:
    """Otsu's threshold of a histogram over [0, 1].

    Args:
        histogram (np.ndarray): Counts of equal bins.

    Returns:
        tuple[float, float]: The border between bins at which the variance between the two groups
        is largest (the middle one of several), and that variance over the total one.
    """
    bins = len(histogram)
    weights = histogram / max(histogram.sum(), 1)
    centres = (np.arange(bins) + 0.5) / bins
    below, moment = weights.cumsum()[:-1], (weights * centres).cumsum()
    mean = moment[-1]
    total = (weights * (centres - mean) ** 2).sum()
    if total <= 0:
        raise ValueError('expected scores that differ, but all pixels have the same one')
    inner = below * (1 - below)
    between = np.divide(
        (mean * below - moment[:-1]) ** 2, inner, out=np.zeros(bins - 1), where=inner > 1e-12
    )
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return round(best.mean() + 1) / bins, float(between.max() / total)
