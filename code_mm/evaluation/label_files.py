"""Reads label files as the metric will see them, and counts what is in them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

_VALUES = 256


class _LabelFile(NamedTuple):
    path: Path
    mode: str
    values: np.ndarray  # as in the file
    counts: np.ndarray  # [256] after loading
    sizes: tuple  # (width, height) of label and image
    error: str | None = None


@dataclass
class LabelCounts:
    """What is in the label files of a data set.

    Args:
        pixels (np.ndarray): [256] pixels of every label, after loading.
        images (np.ndarray): [256] images with every label, after loading.
        values (frozenset[int]): Pixel values in the files, before loading.
        colour_files (Sequence[Path]): Files with several channels; they are not counted.
        other_sizes (Sequence[str]): Pairs of different size.
        unreadable (Sequence[str]): Files that cannot be read, and why.
        num_read (int): Files that were counted.
        most_varied (int, optional): Number of the data set's item with the most labels.
    """

    pixels: np.ndarray = field(default_factory=lambda: np.zeros(_VALUES, np.int64))
    images: np.ndarray = field(default_factory=lambda: np.zeros(_VALUES, np.int64))
    values: frozenset[int] = frozenset()
    colour_files: list[Path] = field(default_factory=list)
    other_sizes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    num_read: int = 0
    most_varied: int | None = None


def count_labels(
    items: Sequence[Mapping],
    load: LoadAnnotations,
    num_threads: int = 2,
    track: Callable[[Iterable, int], Iterable] | None = None,
) -> LabelCounts:
    """Count the labels of image/label pairs.

    Args:
        items (Sequence[Mapping]): ``get_data_info`` of a mmseg data set; both files exist.
        load (LoadAnnotations): The transform of the data set's pipeline.
        num_threads (int): How many files are read at a time.
        track (Callable, optional): Wraps the iterable of finished files, given with their number.
    """
    counted = LabelCounts()
    most = 0
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        done = pool.map(lambda item: _read(item, load), items)
        for number, file in enumerate(track(done, len(items)) if track else done):
            _add(counted, file)
            labels = np.count_nonzero(file.counts[: _VALUES - 1])
            if labels > most and file.sizes[0] == file.sizes[1]:
                most, counted.most_varied = labels, number
    return counted


def _add(counted: LabelCounts, file: _LabelFile) -> None:
    if file.error:
        counted.unreadable.append(f'{file.path}: {file.error}')
        return
    if file.sizes[0] != file.sizes[1]:
        (wide, high), (image_wide, image_high) = file.sizes
        counted.other_sizes.append(
            f'{file.path.name}: label {wide} x {high}, image {image_wide} x {image_high}'
        )
    if not len(file.values):
        counted.colour_files.append(file.path)
        return
    counted.pixels += file.counts
    counted.images += file.counts > 0
    counted.values |= set(file.values.tolist())
    counted.num_read += 1


def _read(item: Mapping, load: LoadAnnotations) -> _LabelFile:
    path, nothing = Path(item['seg_map_path']), np.zeros(_VALUES, np.int64)
    none = np.zeros(0, np.int64)
    try:
        with Image.open(item['img_path']) as image, Image.open(path) as labels:
            sizes = labels.size, image.size
            mode = labels.mode
            if len(labels.getbands()) > 1:
                return _LabelFile(path, mode, none, nothing, sizes)
            values = np.unique(np.asarray(labels))
        loaded = load(dict(item, seg_fields=[]))['gt_seg_map']
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: Pillow's for broken png
        return _LabelFile(path, '', none, nothing, ((), ()), str(error))
    counts = np.bincount(loaded.ravel(), minlength=_VALUES)
    return _LabelFile(path, mode, values, counts, sizes)
