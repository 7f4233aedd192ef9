"""Intersections and unions of every image, to tell how much of a difference is chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmseg.evaluation import IoUMetric

from code_mm.registry import METRICS


@METRICS.register_module(force=True)
class ImageAreas(IoUMetric):
    """mmseg's ``IoUMetric``, which also keeps every image's areas in a file.

    Args:
        path (str): npz file to write: ``intersect`` and ``union``, [images, classes] pixels.
        **kwargs: Those of ``IoUMetric``.
    """

    def __init__(self, path: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.path = path

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Write the areas, then go on as ``IoUMetric`` does."""
        intersect, union = (np.stack([np.asarray(one[i]) for one in results]) for i in (0, 1))
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.path, intersect=intersect, union=union)
        return super().compute_metrics(results)


def miou(intersect: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Percent, from areas [..., classes]; classes that are nowhere do not count."""
    with np.errstate(invalid='ignore'):
        return 100 * np.nanmean(intersect / union, axis=-1)


def difference_error(first: Path, second: Path, draws: int = 1000, seed: int = 0) -> float:
    """Standard error of the difference of two mIoU over images, by the paired bootstrap.

    Args:
        first (Path): File of ``ImageAreas``.
        second (Path): Of the same images in the same order.
        draws (int): Times the images are drawn with replacement, for both alike.
        seed (int): Of the draws.

    Returns:
        float: In points of mIoU.

    Raises:
        ValueError: The files are of different numbers of images.
    """
    areas = [np.load(path) for path in (first, second)]
    counts = {len(one['union']) for one in areas}
    if len(counts) > 1:
        raise ValueError(f'expected areas of the same images, but got {sorted(counts)} images')
    (count,) = counts
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)
    found = [miou(drawn @ one['intersect'], drawn @ one['union']) for one in areas]
    return float(np.std(found[0] - found[1], ddof=1))
