"""mIoU with background at the best background threshold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from code_mm.registry import METRICS

from .object_scores import object_scores, require_background

_THRESHOLDS = tuple(i / 20 for i in range(1, 20))


@METRICS.register_module()
class BestThresholdIoU(IoUMetric):
    """mIoU with background at the best of many background thresholds, and which one that is.

    The model's own background plane takes no part: a pixel is background unless an object class
    scores above the threshold (thesis §4.1, whose threshold is .4 for every model). It compares
    models whose scores differ in level. The threshold is chosen on the very labels that are
    scored, so this is an upper bound, and no result of a benchmark.

    Args:
        thresholds (Sequence[float]): Candidates, in the units of the scores; 0.05, 0.1 ... 0.95.
        **kwargs: Those of mmseg's ``IoUMetric``. The first class of the data set must be its
            background, label 0.

    Returns (of ``evaluate``):
        dict: ``best_threshold/mIoU`` in percent, ``best_threshold/threshold``.
    """

    default_prefix = 'best_threshold'

    def __init__(self, thresholds: Sequence[float] = _THRESHOLDS, **kwargs) -> None:
        super().__init__(**kwargs)
        if not thresholds:
            raise ValueError('expected at least one threshold, but got none')
        self.thresholds = tuple(thresholds)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of samples with ``seg_logits`` [classes, H, W] at every threshold.

        Raises:
            ValueError: The data set has no background, or a sample no scores.
        """
        require_background(self.dataset_meta['classes'], type(self).__name__)
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            score, best = object_scores(sample, num_classes - 1, type(self).__name__).max(dim=0)
            label = sample['gt_sem_seg']['data'].squeeze(0).to(best)
            counts = [
                self.intersect_and_union(
                    (best + 1) * (score > threshold), label, num_classes, self.ignore_index
                )[:2]
                for threshold in self.thresholds
            ]
            self.results.append(torch.stack([torch.stack(areas) for areas in counts]))

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The best mean over classes; a class that is nowhere does not count.

        Args:
            results (list[Tensor]): Per image [thresholds, 2, classes]: intersection, union.
        """
        intersection, union = torch.stack(results).sum(0).double().unbind(1)
        means = 100 * (intersection / union).nanmean(1)
        best = int(means.argmax())
        return dict(mIoU=round(float(means[best]), 2), threshold=self.thresholds[best])
