"""Is a benchmark's data what it is published to be? Wrong labels give useless scores in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image

from code_mm.datasets.benchmarks.table import BENCHMARKS, KnownBenchmark, benchmark_of

_VALUES = 256
_SHOWN = 3


@dataclass
class DataReport:
    """What was found in the data of one benchmark."""

    name: str
    data_root: str
    num_images: int = 0
    num_labels: int = 0
    """Images whose label file exists."""
    num_read: int = 0
    """Label files that were counted."""
    classes: tuple[str, ...] = ()
    palette: list = field(default_factory=list)
    """RGB colours in label order."""
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """[classes] pixels of each class in the files read."""
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """[classes] images with each class."""
    ignored: float = 0.0
    """Share of ignored pixels, in [0, 1]."""
    problems: list[str] = field(default_factory=list)
    """What is wrong; scores on these data mean nothing."""
    notes: list[str] = field(default_factory=list)
    """What may be as it should be."""
    preparation: str = ''
    example: dict | None = None
    """``img_path`` and ``labels`` (H, W) of the image with the most labels."""

    @property
    def shares(self) -> np.ndarray:
        """Share [classes] of every class among the pixels that count."""
        return self.pixels / max(int(self.pixels.sum()), 1)


@dataclass
class _Counts:
    """What is in the label files: labels after loading, values as they are in the files."""

    pixels: np.ndarray = field(default_factory=lambda: np.zeros(_VALUES, np.int64))
    images: np.ndarray = field(default_factory=lambda: np.zeros(_VALUES, np.int64))
    values: set[int] = field(default_factory=set)
    colour_files: list[Path] = field(default_factory=list)
    other_sizes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    num_read: int = 0
    most_varied: Mapping | None = None


def check_benchmark(
    name: str,
    dataset: Mapping,
    limit: int | None = None,
    num_threads: int = 2,
    track: Callable[[Iterable, int], Iterable] | None = None,
) -> DataReport:
    """Compare a benchmark's files with what is published, and with themselves.

    Args:
        name (str): How to call it.
        dataset (Mapping): Config of a mmseg data set with ``data_prefix`` and a pipeline.
        limit (int, optional): Read at most so many label files, evenly spread. All are counted.
        num_threads (int): How many files are read at a time.
        track (Callable, optional): Wraps the iterable of finished files, given with their number.

    Raises:
        ValueError: If the config is of no single data set with image and label folders, or its
            pipeline has no ``LoadAnnotations``.
    """
    prefix = dataset.get('data_prefix') or {}
    if not {'img_path', 'seg_map_path'} <= set(prefix):
        raise ValueError(
            f'{name}: expected a data set with data_prefix=dict(img_path=..., seg_map_path=...), '
            f'but got {dataset["type"]} with {dict(prefix)}'
        )
    known = BENCHMARKS.get(benchmark_of(dataset['type']))
    report = DataReport(name, str(dataset.get('data_root') or '.'))
    report.preparation = known.preparation if known else ''
    report.problems += _absent_places(dataset)
    if report.problems:
        return report
    built = DATASETS.build(dict(dataset, test_mode=True))
    loaders = [t for t in built.pipeline.transforms if isinstance(t, LoadAnnotations)]
    if not loaders:
        raise ValueError(f'{name}: expected LoadAnnotations in the pipeline, but got none')
    items = [built.get_data_info(number) for number in range(len(built))]
    missing = _check_files(report, items, built, known)
    there = [i for i in items if _exists(i['img_path']) and _exists(i['seg_map_path'])]
    if limit is not None and limit < len(there):
        there = [there[i] for i in np.linspace(0, len(there) - 1, max(1, limit)).astype(int)]
    counts = _count_labels(there, loaders[0], num_threads, track)
    _check_labels(report, counts, built.ignore_index, known, missing)
    if counts.most_varied is not None:
        labels = _load_labels(counts.most_varied, loaders[0])
        report.example = dict(img_path=counts.most_varied['img_path'], labels=labels)
    return report


def _exists(path: str) -> bool:
    return Path(path).is_file()


def _load_labels(item: Mapping, load: LoadAnnotations) -> np.ndarray:
    return load(dict(item, seg_fields=[]))['gt_seg_map']


def _absent_places(dataset: Mapping) -> list[str]:
    """Folders and lists of the config that do not exist."""
    root = Path(dataset.get('data_root') or '.')
    if not root.exists():
        return [f'the folder {root} does not exist; data_root of the config says where the data is']
    below = [*dataset['data_prefix'].values(), dataset.get('ann_file') or '']
    return [f'{root / place} does not exist' for place in below if not (root / place).exists()]


def _check_files(
    report: DataReport, items: list, dataset: BaseSegDataset, known: KnownBenchmark | None
) -> list[Path]:
    """Numbers of files and pairs; returns the labels that are missing."""
    report.classes = tuple(dataset.metainfo['classes'])
    report.palette = dataset.metainfo['palette']
    report.num_images = len(items)
    images = [i['img_path'] for i in items if not _exists(i['img_path'])]
    missing = [Path(i['seg_map_path']) for i in items if not _exists(i['seg_map_path'])]
    report.num_labels = len(items) - len(missing)
    if known and len(items) not in known.num_images:
        expected = ' or '.join(map(str, known.num_images))
        report.problems.append(f'expected {expected} images, but got {len(items)}')
    elif not items:
        report.problems.append('there are no images')
    alone = []
    if not dataset.ann_file:
        folder = Path(dataset.data_prefix['seg_map_path'])
        labels = set(folder.rglob(f'*{dataset.seg_map_suffix}'))
        alone = sorted(path.name for path in labels - {Path(i['seg_map_path']) for i in items})
    for what, paths in (
        ('images do not exist', images),
        ('labels do not exist', missing),
        ('labels without image', alone),
    ):
        if paths:
            shown = ', '.join(map(str, paths[:_SHOWN]))
            report.problems.append(f'{len(paths)} {what}: {shown}')
    return missing


def _count_labels(
    items: Sequence[Mapping],
    load: LoadAnnotations,
    num_threads: int,
    track: Callable[[Iterable, int], Iterable] | None,
) -> _Counts:
    counts, most = _Counts(), 0
    with ThreadPoolExecutor(max(1, num_threads)) as pool:
        done = pool.map(lambda item: _read(item, load), items)
        done = track(done, len(items)) if track else done
        for item, (error, same_size, values, pixels) in zip(items, done, strict=True):
            path = Path(item['seg_map_path'])
            if error:
                counts.unreadable.append(f'{path}: {error}')
                continue
            if same_size is not True:
                counts.other_sizes.append(f'{path.name}: {same_size}')
            if values is None:
                counts.colour_files.append(path)
                continue
            counts.pixels += pixels
            counts.images += pixels > 0
            counts.values |= set(values.tolist())
            counts.num_read += 1
            labels = np.count_nonzero(pixels[: _VALUES - 1])
            if labels > most and same_size is True:
                most, counts.most_varied = labels, item
    return counts


def _read(item: Mapping, load: LoadAnnotations) -> tuple:
    """Why a pair cannot be read; True or both sizes; values in the file; [256] labels loaded."""
    try:
        with Image.open(item['img_path']) as image, Image.open(item['seg_map_path']) as labels:
            same_size = labels.size == image.size or 'label {} x {}, image {} x {}'.format(
                *labels.size, *image.size
            )
            if len(labels.getbands()) > 1:
                return None, same_size, None, None
            values = np.unique(np.asarray(labels))
        loaded = _load_labels(item, load)
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: Pillow's for broken png
        return str(error), None, None, None
    return None, same_size, values, np.bincount(loaded.ravel(), minlength=_VALUES)


def _check_labels(
    report: DataReport,
    counts: _Counts,
    ignore: int,
    known: KnownBenchmark | None,
    missing: list[Path],
) -> None:
    number, problems = len(report.classes), report.problems
    report.num_read = counts.num_read
    report.pixels, report.images = counts.pixels[:number], counts.images[:number]
    report.ignored = float(counts.pixels[ignore] / max(int(counts.pixels.sum()), 1))
    mistakes = known.mistakes if known else ()
    problems += [m.message for m in mistakes if m.shows(counts.values, missing)]
    if counts.colour_files:
        problems.append(
            f'{len(counts.colour_files)} label files are colour pictures with several channels '
            f'({counts.colour_files[0].name}); pixel values must be the classes: use the '
            'published files, which no program has converted to RGB'
        )
    beyond = [v for v in np.flatnonzero(counts.pixels).tolist() if number <= v != ignore]
    if beyond:
        problems.append(
            f'labels {beyond[0]} ... {beyond[-1]} after loading, but there are only {number} '
            f'classes (0 ... {number - 1}, {ignore} is ignored)'
        )
    if max(counts.values, default=0) > 255:
        problems.append(
            f'values up to {max(counts.values)} in the files: mmseg reads labels in 8 bits'
        )
    for what, files in (
        ('labels differ from their image in size', counts.other_sizes),
        ('files cannot be read', counts.unreadable),
    ):
        if files:
            problems.append(f'{len(files)} {what}: ' + '; '.join(files[:_SHOWN]))
    if not counts.num_read:
        return
    seen = [name for name, pixels in zip(report.classes, report.pixels, strict=True) if pixels]
    if not seen:
        problems.append('every pixel is ignored')
    elif len(seen) == 1 < counts.num_read:
        problems.append(f'every pixel is {seen[0]!r} or ignored')
    never = [name for name in report.classes if name not in seen]
    if never:
        report.notes.append(
            f'{len(never)} classes are in none of the {counts.num_read} label files read: '
            + ', '.join(never[:8])
            + (' ...' if len(never) > 8 else '')
        )
