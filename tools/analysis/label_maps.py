"""Label maps of a data set's images: its truth, and what a test run saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
from mmengine.dataset import BaseDataset

# what Pillow, OpenCV and mmcv raise where a file is no image
BROKEN = (OSError, SyntaxError, AssertionError, AttributeError, cv2.error)


class LabelledImage(NamedTuple):
    """An image with its truth and its saved prediction."""

    path: str
    truth: np.ndarray
    """(H, W) labels; the data set's ``ignore_index`` where nothing counts."""
    prediction: np.ndarray
    """(H, W) labels in the order of the data set's classes."""


class SavedPredictions:
    """The label maps of ``tools/test.py CONFIG CHECKPOINT --out FOLDER``, in data set order.

    Files are found by the image's name, as mmseg's ``IoUMetric`` writes them. Where the data set
    has ``reduce_zero_label``, the files hold labels counted from 1; this is undone here. The truth
    comes through the data set's pipeline, exactly as the metric saw it.

    Raises:
        FileNotFoundError: If a label map is missing.
        ValueError: If two images have one name, which mmseg writes to one file.
    """

    def __init__(self, dataset: BaseDataset, folder: str | Path) -> None:
        self.dataset, self.folder = dataset, Path(folder)
        self.images, self.failed = image_paths(dataset), {}
        self._files = [self.folder / f'{Path(image).stem}.png' for image in self.images]
        names = Counter(file.name for file in self._files)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(
                f'expected images with different names, but {len(twice)} names occur more than '
                f'once, {twice[:3]}: mmseg wrote their predictions to one file'
            )
        missing = [file.name for file in self._files if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f'expected a label map for each of the {len(self.images)} images in {self.folder}, '
                f'but {len(missing)} are missing, {missing[:3]}; make them with '
                f'tools/test.py CONFIG CHECKPOINT --out {self.folder}'
            )

    def find(self, index: int) -> LabelledImage | None:
        """An image and its maps, or None, and why in ``failed``, where a file of them is broken."""
        try:
            return self[index]
        except BROKEN as error:
            self.failed[self.images[index]] = f'{type(error).__name__}: {error}'
            return None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> LabelledImage:
        path, file = self.images[index], self._files[index]
        truth, offset = load_truth(self.dataset, index)
        saved = mmcv.imread(file, 'unchanged', backend='pillow')
        prediction = saved.astype(np.int64) - offset
        if prediction.shape != truth.shape:
            raise ValueError(
                f'expected the label map of {path} with the size of its annotation {truth.shape}, '
                f'but {file} has {prediction.shape}'
            )
        return LabelledImage(path, truth, prediction)


def load_truth(dataset: BaseDataset, index: int) -> tuple[np.ndarray, int]:
    """Truth of an image through the data set's own pipeline.

    Returns:
        tuple[np.ndarray, int]: Labels (H, W) int64, and by how much ``IoUMetric`` raises the labels
        that it saves (1 with ``reduce_zero_label``).
    """
    sample = dataset[index]['data_samples']
    if 'gt_sem_seg' not in sample:
        raise ValueError(
            'expected a test pipeline that loads the truth, but it has none; put '
            "dict(type='LoadAnnotations') before PackSegInputs"
        )
    truth = sample.gt_sem_seg.data.squeeze(0).numpy().astype(np.int64)
    return truth, int(bool(sample.metainfo.get('reduce_zero_label', False)))


def image_paths(dataset: BaseDataset) -> list[str]:
    """Paths of the images of a data set, in its order."""
    return [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]


def find_image(paths: Sequence[str], name: str) -> int | str:
    """Find an image of a data set, or a file beside it.

    ``name`` is an index into ``paths`` (negative from the end), a name (``0007``, ``0007.jpg``) or
    the path of a file, which is returned where it is not of the data set.
    """
    if name.removeprefix('-').isdigit() and str(int(name)) == name:
        index = int(name)
        if not -len(paths) <= index < len(paths):
            raise IndexError(f'expected an index below {len(paths)} images, but got {index}')
        return index % len(paths)
    resolved = Path(name).resolve()
    found = [
        i
        for i, path in enumerate(map(Path, paths))
        if name in (path.stem, path.name) or resolved == path.resolve()
    ]
    if len(found) == 1:
        return found[0]
    if Path(name).is_file():
        return name
    if found:
        raise ValueError(
            f'expected one image called {name!r}, but {len(found)} are, '
            f'{[paths[i] for i in found[:3]]}; give the path'
        )
    examples = [Path(path).name for path in paths[:3]]
    raise ValueError(
        f'expected an index, the name of an image of the data set (such as {examples}) or a file, '
        f'but got {name!r}'
    )
