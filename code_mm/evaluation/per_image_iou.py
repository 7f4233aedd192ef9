"""Pixels by truth and prediction, and the IoU of every single image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log

from code_mm.atomic_write import write_text
from code_mm.registry import METRICS


def confusion_counts(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignore_index: int = 255
) -> np.ndarray:
    """Count the pixels of an image by true and by predicted class.

    Counts of images add up: :func:`class_ious` of the sum over a data set are mmseg's.

    Args:
        prediction (np.ndarray): (H, W) labels in [0, num_classes).
        truth (np.ndarray): (H, W) labels, ``ignore_index`` where nothing counts.
        num_classes (int): Number of classes n.
        ignore_index (int): Label of the truth whose pixels are left out.

    Returns:
        np.ndarray: (n, n) int64, row = truth, column = prediction.

    Raises:
        ValueError: If a counted label is no class.
    """
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


def image_iou(
    image: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    classes: Sequence[str],
    ignore_index: int = 255,
) -> dict:
    """IoU of one image in percent, from its path and labels as of :func:`confusion_counts`.

    Returns:
        dict: ``image``; ``mIoU``, the mean over the classes that are in truth or prediction, None
        where no pixel counts; ``IoU``, name -> IoU of these classes.
    """
    ious = 100 * class_ious(confusion_counts(prediction, truth, len(classes), ignore_index))
    present = np.flatnonzero(~np.isnan(ious))
    mean = float(ious[present].mean()) if present.size else None
    return dict(image=image, mIoU=mean, IoU={classes[c]: float(ious[c]) for c in present})


@METRICS.register_module()
class PerImageIoU(BaseMetric):
    """Writes :func:`image_iou` of every image to ``per_image_iou.jsonl``, an object per line.

    Beside mmseg's ``IoUMetric``, which sums pixels over the data set first, it tells which images
    are segmented well and which are not (thesis Fig. 4.5).

    Args:
        output_dir (str): Folder of the file; a relative path is taken from the folder of the run's
            log. Where several benchmarks share the metric, each has its own folder in it.
        ignore_index (int): Label of pixels that do not count.
        **kwargs: ``prefix``, ``collect_device``, ``collect_dir`` of ``BaseMetric``.

    Returns (of ``evaluate``):
        dict: ``per_image/mIoU``, the mean over images, in percent.
    """

    default_prefix = 'per_image'

    def __init__(self, output_dir: str, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.output_dir, self.ignore_index = output_dir, ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score samples with ``pred_sem_seg`` and ``gt_sem_seg`` [1, H, W] and ``img_path``."""
        classes = self.dataset_meta['classes']
        for sample in data_samples:
            prediction, truth = (
                sample[key]['data'].squeeze(0).cpu().numpy()
                for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            self.results.append(
                image_iou(sample['img_path'], prediction, truth, classes, self.ignore_index)
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Write the file (main process only) and average over the images with counted pixels."""
        log = MMLogger.get_current_instance().log_file
        folder = (Path(log).parent if log else Path.cwd()) / self.output_dir
        print_log(f'IoU of every image: {write_per_image_iou(results, folder)}', logger='current')
        means = [result['mIoU'] for result in results if result['mIoU'] is not None]
        return {'mIoU': float(np.mean(means)) if means else float('nan')}


def write_per_image_iou(results: Sequence[dict], folder: str | Path) -> Path:
    """Write results of :func:`image_iou` to ``per_image_iou.jsonl`` in a folder, which is made."""
    path = Path(folder) / 'per_image_iou.jsonl'
    lines = [json.dumps(result, ensure_ascii=False) + '\n' for result in results]
    write_text(path, ''.join(lines))
    return path
