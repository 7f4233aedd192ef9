"""Pixels by truth and prediction, and the IoU of every single image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log

from code_mm.registry import METRICS

FILE_NAME = 'per_image_iou.jsonl'


class ImageIoU(NamedTuple):
    """IoU of one image, in percent."""

    image: str
    mean: float | None
    """Over the classes in truth or prediction; None where no pixel counts."""
    classes: dict[str, float]
    """Name -> IoU of the classes in truth or prediction."""


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


def image_iou(
    image: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    classes: Sequence[str],
    ignore_index: int = 255,
) -> ImageIoU:
    """Mean IoU of one image over the classes that are in its truth or its prediction.

    Args:
        image (str): Its path, kept in the result.
        prediction (np.ndarray): (H, W) labels in [0, n).
        truth (np.ndarray): (H, W) labels, ``ignore_index`` where nothing counts.
        classes (Sequence[str]): The n names in label order.
        ignore_index (int): Label of the truth whose pixels are left out.

    Raises:
        ValueError: If the maps differ in size or a counted label is no class.
    """
    ious = 100 * class_ious(confusion_counts(prediction, truth, len(classes), ignore_index))
    present = np.flatnonzero(~np.isnan(ious))
    mean = float(ious[present].mean()) if present.size else None
    return ImageIoU(image, mean, {classes[c]: float(ious[c]) for c in present})


@METRICS.register_module()
class PerImageIoU(BaseMetric):
    """Writes the IoU of every image to a file, one JSON object per line.

    Beside mmseg's ``IoUMetric``, which sums pixels over the data set first, it tells which images
    are segmented well and which are not (thesis Fig. 4.5); ``tools/analysis/worst_and_best.py``
    draws them. A line is ``{"image": path, "mIoU": percent or null, "IoU": {class: percent}}``.

    Args:
        output_dir (str): Folder of the file ``per_image_iou.jsonl``; a relative path is taken from
            the folder of the run's log. Where several benchmarks share the metric, each has its
            own folder in it. A later evaluation of the same run replaces the file.
        ignore_index (int): Label of pixels that do not count.
        **kwargs: ``prefix``, ``collect_device``, ``collect_dir`` of ``BaseMetric``.

    Returns (of ``evaluate``):
        dict: ``per_image/mIoU``, the mean over images, in percent.
    """

    default_prefix = 'per_image'

    def __init__(self, output_dir: str, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.output_dir = output_dir
        self.ignore_index = ignore_index

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

    def compute_metrics(self, results: list[ImageIoU]) -> dict[str, float]:
        """Write the file (main process only) and average over the images."""
        results = [ImageIoU(*result) for result in results]  # MMEngine made tuples of them
        log = MMLogger.get_current_instance().log_file
        path = (Path(log).parent if log else Path.cwd()) / self.output_dir / FILE_NAME
        write_per_image_iou(results, path)
        means = [result.mean for result in results if result.mean is not None]
        print_log(f'IoU of {len(results)} images: {path}', logger='current')
        if len(means) < len(results):
            print_log(f'{len(results) - len(means)} images without a pixel that counts.', 'current')
        return {'mIoU': float(np.mean(means)) if means else float('nan')}


def write_per_image_iou(results: Sequence[ImageIoU], path: str | Path) -> None:
    """Write one JSON object per image and line; the folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(dict(image=r.image, mIoU=r.mean, IoU=r.classes), ensure_ascii=False)
        for r in results
    ]
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
