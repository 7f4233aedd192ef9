"""Label maps that a test run saved, beside the truth of its data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from mmengine.dataset import BaseDataset


class LabelledImage(NamedTuple):
    """An image with its truth and, where one was saved, its prediction."""

    path: str
    truth: np.ndarray
    """(H, W) labels; the data set's ``ignore_index`` where nothing counts."""
    prediction: np.ndarray
    """(H, W) labels in the order of the data set's classes."""


class SavedPredictions:
    """The label maps of ``tools/test.py CONFIG CHECKPOINT --out FOLDER``, in data set order.

    Files are found by the image's name, as mmseg's ``IoUMetric`` writes them. Where the data set
    has ``reduce_zero_label``, the files hold labels counted from 1; this is undone here.

    Args:
        dataset (BaseDataset): The data set that was tested on, with its pipeline, which gives the
            truth exactly as the metric saw it.
        folder (str | Path): Where the label maps are.

    Raises:
        FileNotFoundError: If a label map is missing.
        ValueError: If two images have one name, which mmseg writes to one file.
    """

    def __init__(self, dataset: BaseDataset, folder: str | Path) -> None:
        self.dataset, self.folder = dataset, Path(folder)
        self.images = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
        twice = [name for name, n in Counter(map(self._file_name, self.images)).items() if n > 1]
        if twice:
            raise ValueError(
                f'expected images with different names, but {len(twice)} names occur more than '
                f'once, {twice[:3]}: mmseg wrote their predictions to one file'
            )
        missing = [name for name in map(self._file_name, self.images) if not self._has(name)]
        if missing:
            raise FileNotFoundError(
                f'expected a label map for each of the {len(self.images)} images in {self.folder}, '
                f'but {len(missing)} are missing, {missing[:3]}; make them with '
                f'tools/test.py CONFIG CHECKPOINT --out {self.folder}'
            )

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> LabelledImage:
        path = self.images[index]
        truth, offset = load_truth(self.dataset, index)
        saved = mmcv.imread(self.folder / self._file_name(path), 'unchanged', backend='pillow')
        prediction = saved.astype(np.int64) - offset
        if prediction.shape != truth.shape:
            raise ValueError(
                f'expected the label map of {path} with the size of its annotation {truth.shape}, '
                f'but {self.folder / self._file_name(path)} has {prediction.shape}'
            )
        return LabelledImage(path, truth, prediction)

    def _has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    @staticmethod
    def _file_name(image: str) -> str:
        return f'{Path(image).stem}.png'


def load_truth(dataset: BaseDataset, index: int) -> tuple[np.ndarray, int]:
    """Truth of an image through the data set's own pipeline.

    Returns:
        tuple[np.ndarray, int]: Labels (H, W) int64, and by how much ``IoUMetric`` raises the labels
        that it saves (1 with ``reduce_zero_label``).

    Raises:
        ValueError: If the pipeline loads no annotations.
    """
    sample = dataset[index]['data_samples']
    if 'gt_sem_seg' not in sample:
        raise ValueError(
            'expected a test pipeline that loads the truth, but it has none; put '
            "dict(type='LoadAnnotations') before PackSegInputs"
        )
    truth = sample.gt_sem_seg.data.squeeze(0).numpy().astype(np.int64)
    return truth, int(bool(sample.metainfo.get('reduce_zero_label', False)))
