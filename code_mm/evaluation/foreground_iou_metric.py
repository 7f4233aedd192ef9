"""mIoU without background, from scores that were made with one."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.evaluation import IoUMetric

from code_mm.registry import METRICS

from .object_scores import object_scores, require_background


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
        require_background(meta['classes'], type(self).__name__)
        self._dataset_meta = {**meta, 'classes': meta['classes'][1:]}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the object pixels of samples with ``seg_logits`` [classes, H, W].

        Raises:
            ValueError: A sample has no scores.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            scores = object_scores(sample, num_classes, type(self).__name__)
            prediction = scores.argmax(dim=0)
            label = sample['gt_sem_seg']['data'].squeeze(0).to(prediction)
            ignored = (label == 0) | (label == self.ignore_index)
            label = (label - 1).masked_fill(ignored, self.ignore_index)
            self.results.append(
                self.intersect_and_union(prediction, label, num_classes, self.ignore_index)
            )
