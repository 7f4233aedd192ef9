"""How well a model tells objects from background, whatever it calls them."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from code_mm.registry import METRICS

# Scores are counted by the first 20 of their 32 bits: sign, exponent and 11 bits
# of mantissa, a relative resolution of 2^-12. No range has to be known.
_BITS = 20
_NUM_BINS = 1 << _BITS


def score_bins(scores: torch.Tensor) -> torch.Tensor:
    """Map floats to histogram bins that keep their order.

    Args:
        scores (Tensor): Any shape, finite or infinite, no NaN.

    Returns:
        Tensor: int64 in [0, 2**20), non-decreasing in the score.
    """
    # + 0.0 turns -0.0 into 0.0, which must fall into the same bin
    bits = (scores.float() + 0.0).contiguous().view(torch.int32).long()
    # IEEE floats order like integers; the negative ones in reverse
    ordered = torch.where(bits < 0, -1 - (bits & 0x7FFFFFFF), bits) + (1 << 31)
    return ordered >> (32 - _BITS)


def area_under_roc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Area under the ROC curve of two histograms over the same ordered bins.

    The probability that a random positive has a higher score than a random
    negative, ties counted half (Mann and Whitney 1947).

    Args:
        positives (np.ndarray): (bins,) counts.
        negatives (np.ndarray): (bins,) counts.

    Returns:
        float: In [0, 1]; NaN without positives or without negatives.
    """
    positives, negatives = positives.astype(np.float64), negatives.astype(np.float64)
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return float('nan')
    lower = np.cumsum(negatives) - negatives
    return float((positives * (lower + 0.5 * negatives)).sum() / pairs)


@METRICS.register_module()
class ObjectBackgroundAUC(BaseMetric):
    """Area under the ROC curve of "some class scores high" against "is object".

    A pixel's score is its maximum foreground class score in ``seg_logits``, its
    truth whether the ground truth is any object class. This judges localisation
    alone: no threshold, and no matter which class it is. All pixels of all
    images are ranked together, in a histogram of fixed size. In distributed
    evaluation the counts of all processes are summed, without the repeated
    samples by which a sampler pads the dataset (as everywhere in MMEngine, the
    loader must deal samples to processes in turn, as ``DefaultSampler`` does).

    Args:
        ignore_index (int): Label of pixels that do not count. Default: 255.
        background_label (int): Label of background in the truth. Default: 0.
        background_plane (int, optional): Plane of ``seg_logits`` that holds the
            background's score and is left out; None where all planes are
            objects. Default: 0.
        **kwargs: ``prefix``, ``collect_device``, ``collect_dir`` of ``BaseMetric``.

    Returns (of ``evaluate``):
        dict: ``object_auc``, a fraction in [0, 1]; 0.5 is chance.
    """

    default_prefix = None

    def __init__(
        self,
        ignore_index: int = 255,
        background_label: int = 0,
        background_plane: int | None = 0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index
        self.background_label = background_label
        self.background_plane = background_plane
        self._reset()

    def _reset(self) -> None:
        self._counts = torch.zeros(2, _NUM_BINS, dtype=torch.int64)
        self._last = torch.zeros_like(self._counts)  # kept apart: may prove to be padding
        self._num_images = 0

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): With ``seg_logits`` (c, H, W) and
                ``gt_sem_seg`` (1, H, W).

        Raises:
            ValueError: If a sample lacks scores or truth, they differ in size, or
                a score is NaN.
        """
        for sample in data_samples:
            self._counts += self._last
            self._last = self._histograms(sample)
            self._num_images += 1

    def _histograms(self, sample: dict) -> torch.Tensor:
        for key in ('seg_logits', 'gt_sem_seg'):
            if key not in sample:
                raise ValueError(
                    f'expected data samples with seg_logits and gt_sem_seg, but {key!r} is missing '
                    f'in {sorted(sample)} of {sample.get("img_path")}; the model keeps scores with '
                    'test_cfg.keep_scores=True'
                )
        logits = sample['seg_logits']['data']
        label = sample['gt_sem_seg']['data'].squeeze(0).to(logits.device)
        if logits.shape[1:] != label.shape:
            raise ValueError(
                f'expected scores and truth of one size, but got {tuple(logits.shape[1:])} and '
                f'{tuple(label.shape)} for {sample.get("img_path")}'
            )
        planes = [i for i in range(len(logits)) if i != self.background_plane]
        if not planes:
            raise ValueError(
                f'expected seg_logits with at least one object class beside background_plane='
                f'{self.background_plane}, but got {len(logits)} plane(s)'
            )
        score = logits[planes].amax(dim=0)
        if score.isnan().any():
            raise ValueError(f'expected finite scores, but got NaN for {sample.get("img_path")}')
        counted = label != self.ignore_index
        is_object = label != self.background_label
        bins = score_bins(score)
        histograms = [
            torch.bincount(bins[counted & side], minlength=_NUM_BINS)
            for side in (is_object, ~is_object)
        ]
        return torch.stack(histograms).cpu()

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum the counts of all processes and compute the area.

        Args:
            size (int): Number of images in the dataset.

        Returns:
            dict[str, float]: ``object_auc``.
        """
        rank, world_size = get_dist_info()
        # the n-th image of this process is number (n - 1) * world_size + rank
        padded = (self._num_images - 1) * world_size + rank >= size
        self.results = [self._counts if padded else self._counts + self._last]
        metrics = super().evaluate(max(size, world_size))
        self._reset()
        return metrics

    def compute_metrics(self, results: list[torch.Tensor]) -> dict[str, float]:
        """Area under the curve of the summed histograms.

        Args:
            results (list[Tensor]): Per process (2, bins): object, background.
        """
        positives, negatives = sum(results).numpy()
        area = area_under_roc(positives, negatives)
        if np.isnan(area):
            print_log(
                f'object_auc is not defined: {positives.sum()} object and {negatives.sum()} '
                f'background pixels were counted (background_label={self.background_label}, '
                f'ignore_index={self.ignore_index}).',
                logger='current',
            )
        return {'object_auc': area}
