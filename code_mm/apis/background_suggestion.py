"""A background threshold from unlabelled images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .class_query import ClassQuery
from .segmentation import Segmentation
from .stream_inferencer import StreamInferencer

_BINS = 256
# A single bell-shaped group has 0.64, evenly spread scores have 0.75.
_TWO_GROUPS = 0.75


@dataclass(frozen=True)
class ThresholdSuggestion:
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
    inferencer: StreamInferencer, images: Iterable, words: tuple[str, ...], batch_size: int = 1
) -> ThresholdSuggestion:
    """Suggest a background threshold for these classes on images like these.

    The score of the best class is taken at every pixel; pixels of the classes score high, others
    low, and the threshold is the one of Otsu (1979) between the two groups. It knows no truth: it
    needs images in which both kinds of pixels are common, and it follows scores, not
    correctness. It holds for these class names and this model only.

    Args:
        inferencer (StreamInferencer): The model.
        images (Iterable[InputImage]): Tens of images; unreadable ones are skipped with a warning.
        words (tuple[str, ...]): Class names without background.
        batch_size (int): Images at a time.

    Raises:
        ValueError: No image could be read, or all pixels have one score.
    """
    histogram, count = np.zeros(_BINS, np.int64), 0
    for result in inferencer.segment(images, ClassQuery(words, 0.5), batch_size, keep_scores=True):
        histogram += np.histogram(_best_scores(result), _BINS, (0, 1))[0]
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
    border = round(best.mean() + 1)
    return border / bins, float(between.max() / total)


def _best_scores(result: Segmentation) -> np.ndarray:
    return result.scores[1:].max(axis=0)
