"""mIoU at the background threshold that suits a model best."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from code_mm.evaluation.background_metrics import object_scores, require_background
from code_mm.registry import METRICS


@METRICS.register_module()
class BestThresholdIoU(IoUMetric):
    """mIoU with background at the best of the background thresholds 0.05, 0.1 ... 0.95.

    The model's own background plane takes no part: a pixel is background unless an object class
    scores above the threshold. It compares models whose scores differ in level. The threshold is
    chosen on the very labels that are scored: an upper bound, and no result of a benchmark.

    Returns (of ``evaluate``):
        dict: ``best_threshold/mIoU`` in percent, ``best_threshold/threshold``.
    """

    default_prefix = 'best_threshold'
    thresholds = tuple(i / 20 for i in range(1, 20))

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of samples with ``seg_logits`` [classes, H, W] at every threshold.

        Raises:
            ValueError: The data set has no background, or a sample no scores.
        """
        classes = self.dataset_meta['classes']
        require_background(classes, self)
        for sample in data_samples:
            scores, label = object_scores(sample, self)
            score, best = scores.max(dim=0)
            counts = [
                self.intersect_and_union(
                    (best + 1) * (score > threshold), label, len(classes), self.ignore_index
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
