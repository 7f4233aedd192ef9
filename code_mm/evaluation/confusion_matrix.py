"""Which classes a model takes for which: counts of pixels by truth and prediction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Confusion(NamedTuple):
    """One cell of a confusion matrix, off its diagonal."""

    truth: str
    prediction: str
    pixels: int
    share: float
    """Of the pixels of the class ``truth``, in [0, 1]."""


def confusion_counts(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignore_index: int = 255
) -> np.ndarray:
    """Count the pixels of an image by true and by predicted class.

    Counts of images add up; the sum over a data set gives mmseg's ``IoUMetric`` by
    :func:`class_ious`.

    Args:
        prediction (np.ndarray): (H, W) labels in [0, num_classes).
        truth (np.ndarray): (H, W) labels, ``ignore_index`` where nothing counts.
        num_classes (int): Number of classes n.
        ignore_index (int): Label of the truth whose pixels are left out.

    Returns:
        np.ndarray: (n, n) int64, row = truth, column = prediction.

    Raises:
        ValueError: If the maps differ in size or a counted label is no class.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f'expected prediction and truth of one size, but got {prediction.shape} and '
            f'{truth.shape}; predictions are compared at the size of the annotation'
        )
    counted = truth != ignore_index
    rows, columns = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, labels in (('truth', rows), ('prediction', columns)):
        wrong = np.unique(labels[(labels < 0) | (labels >= num_classes)])
        if wrong.size:
            raise ValueError(
                f'expected labels of the {name} in 0..{num_classes - 1}, but got '
                f'{wrong[:5].tolist()}; were they made for another data set, or with another '
                'reduce_zero_label?'
            )
    flat = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes)


def class_ious(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of every class.

    Args:
        counts (np.ndarray): (n, n) pixels, row = truth, column = prediction.

    Returns:
        np.ndarray: (n,) in [0, 1]; NaN for classes in neither truth nor prediction, which mmseg's
        mIoU leaves out (``np.nanmean``).
    """
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def normalise_rows(counts: np.ndarray) -> np.ndarray:
    """Shares (n, m) in [0, 1] of the true class, of pixels (n, m); rows without a pixel stay 0."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)


def most_confused(
    counts: np.ndarray, classes: Sequence[str], limit: int = 20, by: str = 'share'
) -> list[Confusion]:
    """The pairs of classes that are mixed up most.

    Args:
        counts (np.ndarray): (n, n) pixels, row = truth, column = prediction.
        classes (Sequence[str]): The n names.
        limit (int): How many pairs at most.
        by (str): ``'share'`` of the true class' pixels, which counts every class alike as mIoU
            does, or ``'pixels'``.

    Returns:
        list[Confusion]: Worst first; pairs that never occur are left out.
    """
    shares = normalise_rows(counts)
    rank = (shares if by == 'share' else counts).astype(np.float64)
    np.fill_diagonal(rank, 0)
    order = np.argsort(-rank, axis=None, kind='stable')[:limit]
    cells = [divmod(int(cell), len(classes)) for cell in order if rank.flat[cell] > 0]
    return [
        Confusion(classes[i], classes[j], int(counts[i, j]), float(shares[i, j])) for i, j in cells
    ]


def classes_to_show(
    counts: np.ndarray, classes: Sequence[str], limit: int = 25, by: str = 'share'
) -> list[int]:
    """The classes of the most confused pairs, as many as a picture can name.

    Args:
        counts (np.ndarray): (n, n) pixels, row = truth, column = prediction.
        classes (Sequence[str]): The n names.
        limit (int): How many classes at most, at least 2.
        by (str): See :func:`most_confused`.

    Returns:
        list[int]: Labels in rising order; all n where there are no more than ``limit``.

    Raises:
        ValueError: If ``limit`` < 2.
    """
    if limit < 2:
        raise ValueError(f'expected at least 2 classes to show, but got {limit}')
    if len(classes) <= limit:
        return list(range(len(classes)))
    shown: set[int] = set()
    label = {name: i for i, name in enumerate(classes)}
    for pair in most_confused(counts, classes, counts.size, by):
        both = {label[pair.truth], label[pair.prediction]}
        if len(shown | both) > limit:
            break
        shown |= both
    return sorted(shown) or list(range(limit))
