"""Metrics of data sets with a background: without it, and against it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from mmseg.evaluation import IoUMetric
from torch import Tensor

from code_mm.registry import METRICS

# Scores are counted by the first 20 of their 32 bits: sign, exponent and 11 bits of mantissa, a
# relative resolution of 2^-12. No range has to be known.
_BITS = 20


@METRICS.register_module()
class ForegroundIoUMetric(IoUMetric):
    """IoU of the object classes among the object pixels.

    Background pixels are ignored and the background's plane of ``seg_logits`` takes no part, so
    one run gives both readings of the thesis (§4.1): with background (``IoUMetric``) and without.

    Args:
        **kwargs: Those of mmseg's ``IoUMetric``. The first class of the data set must be its
            background, label 0.

    Returns (of ``evaluate``):
        dict: ``foreground/mIoU``, ``foreground/aAcc`` ..., in percent.
    """

    default_prefix = 'foreground'

    @property
    def dataset_meta(self) -> dict | None:
        """Meta of the data set, the background class left out."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        require_background(meta['classes'], self)
        self._dataset_meta = {**meta, 'classes': meta['classes'][1:]}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the object pixels of samples with ``seg_logits`` [classes, H, W].

        Raises:
            ValueError: A sample has no scores.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            scores, label = object_scores(sample, self)
            ignored = (label == 0) | (label == self.ignore_index)
            label = (label - 1).masked_fill(ignored, self.ignore_index)
            prediction = scores.argmax(dim=0).to(label)
            self.results.append(
                self.intersect_and_union(prediction, label, num_classes, self.ignore_index)
            )


@METRICS.register_module()
class ObjectBackgroundAUC(BaseMetric):
    """Area under the ROC curve of "some class scores high" against "is object".

    A pixel's score is its maximum object class score in ``seg_logits``, its truth whether the
    ground truth is any object class. This judges localisation alone: no threshold, and no matter
    which class it is. All pixels of all images are ranked together, in a histogram of fixed size.
    In distributed evaluation the counts of all processes are summed, without the repeated samples
    by which a sampler pads the dataset (as everywhere in MMEngine, the loader must deal samples to
    processes in turn, as ``DefaultSampler`` does).

    Args:
        ignore_index (int): Label of pixels that do not count; background is label and plane 0.
        **kwargs: ``prefix``, ``collect_device``, ``collect_dir`` of ``BaseMetric``.

    Returns (of ``evaluate``):
        dict: ``object_auc``, a fraction in [0, 1]; 0.5 is chance, NaN without either kind.
    """

    def __init__(self, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index
        self._reset()

    def _reset(self) -> None:
        self._counts = torch.zeros(2, 1 << _BITS, dtype=torch.int64)
        self._last = torch.zeros_like(self._counts)  # kept apart: may prove to be padding
        self._num_images = 0

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of samples with ``seg_logits`` [c, H, W], ``gt_sem_seg`` [1, H, W].

        Raises:
            ValueError: A sample has no scores, or a score is NaN.
        """
        for sample in data_samples:
            scores, label = object_scores(sample, self)
            score = scores.amax(dim=0)
            if score.isnan().any():
                raise ValueError(f'expected finite scores, but got NaN for {sample["img_path"]}')
            bins, counted = _bins(score), label != self.ignore_index
            sides = [bins[counted & (label != 0)], bins[counted & (label == 0)]]
            self._counts += self._last
            self._last = torch.stack([side.bincount(minlength=1 << _BITS) for side in sides]).cpu()
            self._num_images += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum the counts of all processes and compute the area over ``size`` images."""
        rank, world_size = get_dist_info()
        # the n-th image of this process is number (n - 1) * world_size + rank
        padded = (self._num_images - 1) * world_size + rank >= size
        self.results = [self._counts if padded else self._counts + self._last]
        metrics = super().evaluate(max(size, world_size))
        self._reset()
        return metrics

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Area under the curve of the summed histograms, [2, bins] of each process.

        The probability that a random object pixel has a higher score than a random background
        pixel, ties counted half (Mann and Whitney 1947).
        """
        objects, background = sum(results).numpy().astype(np.float64)
        pairs = objects.sum() * background.sum()
        lower = np.cumsum(background) - background
        higher = (objects * (lower + 0.5 * background)).sum()
        return dict(object_auc=float(higher / pairs) if pairs else float('nan'))


def _bins(scores: Tensor) -> Tensor:
    """Map floats without NaN to int64 bins in [0, 2**20) that keep their order."""
    # + 0.0 turns -0.0 into 0.0, which must fall into the same bin
    bits = (scores.float() + 0.0).contiguous().view(torch.int32).long()
    # IEEE floats order like integers; the negative ones in reverse
    ordered = torch.where(bits < 0, -1 - (bits & 0x7FFFFFFF), bits) + (1 << 31)
    return ordered >> (32 - _BITS)


def require_background(classes: Sequence[str], metric: BaseMetric) -> None:
    if classes[0] != 'background':
        raise ValueError(
            f"expected 'background' as the first class for {type(metric).__name__}, but got "
            f'{classes[:3]}; use IoUMetric for data sets without background'
        )


def object_scores(sample: dict, metric: BaseMetric) -> tuple[Tensor, Tensor]:
    """Scores of a sample without the background's [classes - 1, H, W], and its labels [H, W]."""
    if 'seg_logits' not in sample:
        raise ValueError(
            f'expected data samples with seg_logits for {type(metric).__name__}, but got '
            f'{sorted(sample)} ({sample.get("img_path")}); set test_cfg.keep_scores=True'
        )
    scores = sample['seg_logits']['data'][1:]
    return scores, sample['gt_sem_seg']['data'].squeeze(0).to(scores.device)
