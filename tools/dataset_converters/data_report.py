"""Is a benchmark's data what it is published to be? Wrong labels give useless scores in silence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import Image

from code_mm.datasets.benchmarks.table import BENCHMARKS, KnownBenchmark, benchmark_of
from code_mm.datasets.preparation.parallel_jobs import run_jobs

_SHOWN = 3


@dataclass
class DataReport:
    """What was found in the data of one benchmark."""

    name: str
    preparation: str = ''
    problems: list[str] = field(default_factory=list)  # scores on these data mean nothing
    notes: list[str] = field(default_factory=list)  # what may be as it should be
    num_images: int = 0
    num_labels: int = 0  # images whose label file exists
    num_read: int = 0  # label files that were counted
    classes: tuple[str, ...] = ()
    palette: list = field(default_factory=list)  # RGB colours in label order
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # of each label
    images: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # with each label
    ignored: float = 0.0  # share of the pixels, in [0, 1]
    example: dict | None = None  # img_path and labels (H, W) of the image with the most labels

    def add(self, what: str, found: list) -> None:
        """Note a problem of several files, of which the first are shown."""
        if found:
            self.problems.append(f'{len(found)} {what}: {", ".join(map(str, found[:_SHOWN]))}')


def check_benchmark(
    name: str, dataset: Mapping, limit: int | None = None, workers: int = 1
) -> DataReport:
    """Compare a benchmark's files with what is published, and with themselves.

    Args:
        name (str): How to call it.
        dataset (Mapping): Config of a mmseg data set with ``data_prefix`` and a pipeline.
        limit (int, optional): Read at most so many label files, evenly spread. All are counted.
        workers (int): Processes that read files.

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
    report = DataReport(name, known.preparation if known else '')
    root = Path(dataset.get('data_root') or '.')
    places = [root / place for place in ('', *prefix.values(), dataset.get('ann_file') or '')]
    if absent := [place for place in places if not place.exists()]:
        report.problems.append(
            f'{absent[0]} does not exist; data_root of the config says where the data is'
        )
        return report
    built = DATASETS.build(dict(dataset, test_mode=True))
    loaders = [t for t in built.pipeline.transforms if isinstance(t, LoadAnnotations)]
    if not loaders:
        raise ValueError(f'{name}: expected LoadAnnotations in the pipeline, but got none')
    items = [built.get_data_info(number) for number in range(len(built))]
    missing = _check_files(report, items, built, known)
    there = [i for i in items if all(Path(i[k]).is_file() for k in ('img_path', 'seg_map_path'))]
    if limit is not None and limit < len(there):
        there = [there[i] for i in np.linspace(0, len(there) - 1, limit).astype(int)]
    values = _read_labels(report, there, loaders[0], workers)
    if known:
        report.problems += _usual_mistakes(known, values, missing)
    _check_labels(report, values, built.ignore_index)
    return report


def _check_files(
    report: DataReport, items: list, dataset: BaseSegDataset, known: KnownBenchmark | None
) -> list[Path]:
    """Numbers of files and pairs; returns the labels that are missing."""
    report.classes = tuple(dataset.metainfo['classes'])
    report.palette = dataset.metainfo['palette']
    images, labels = ([Path(item[key]) for item in items] for key in ('img_path', 'seg_map_path'))
    missing = [path for path in labels if not path.is_file()]
    report.num_images, report.num_labels = len(items), len(items) - len(missing)
    expected = known.num_images if known else ()
    if (expected and len(items) not in expected) or not items:
        numbers = ' or '.join(map(str, expected)) or 'some'
        report.problems.append(f'expected {numbers} images, but got {len(items)}')
    report.add('images do not exist', [path for path in images if not path.is_file()])
    report.add('labels do not exist', missing)
    if not dataset.ann_file:
        there = Path(dataset.data_prefix['seg_map_path']).rglob(f'*{dataset.seg_map_suffix}')
        report.add('labels without image', sorted(path.name for path in {*there} - {*labels}))
    return missing


def _read_labels(report: DataReport, items: list, load: LoadAnnotations, workers: int) -> set[int]:
    """Count labels; returns all pixel values in the files as they are."""
    values, most, colour, sizes, unreadable = set(), 0, [], [], []
    options = dict(description=report.name, unit='images')
    for item, (error, size, found, labels) in run_jobs(
        partial(_read, load), items, workers, **options
    ):
        name = Path(item['seg_map_path']).name
        if error:
            unreadable.append(f'{name}: {error}')
            continue
        if size:
            sizes.append(f'{name}: {size}')
        if found is None:
            colour.append(name)
            continue
        report.num_read += 1
        pixels = np.bincount(labels.ravel(), minlength=256)
        report.pixels += pixels
        report.images += pixels > 0
        values |= found
        kinds = np.count_nonzero(pixels[:255])
        if kinds > most and not size:
            most = kinds
            report.example = dict(img_path=item['img_path'], labels=labels)
    report.add(
        'label files are colour pictures; pixel values must be the classes: use the published '
        'files, which no program has converted to RGB',
        colour,
    )
    report.add('labels differ from their image in size', sizes)
    report.add('files cannot be read', unreadable)
    return values


def _read(load: LoadAnnotations, item: Mapping) -> tuple:
    """Why a pair cannot be read; both sizes if they differ; values in the file; labels loaded."""
    try:
        with Image.open(item['img_path']) as image, Image.open(item['seg_map_path']) as labels:
            differ = labels.size != image.size
            size = f'label {labels.size}, image {image.size}' if differ else ''
            if len(labels.getbands()) > 1:
                return None, size, None, None
            values = set(np.unique(np.asarray(labels)).tolist())
        return None, size, values, load(dict(item, seg_fields=[]))['gt_seg_map']
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: Pillow's for broken png
        return str(error), None, None, None


def _usual_mistakes(known: KnownBenchmark, values: set[int], missing: list[Path]) -> list[str]:
    """How the values and names of label files differ from the published ones."""
    found = []
    if any(known.max_value < value != 255 for value in values):
        found.append(f'values above {known.max_value}: labels that were not converted, or others')
    if known.has_255 and values and 255 not in values:
        found.append('no pixel is 255, as some of every published label file are')
    if known.has_255 is False and 255 in values:
        found.append(
            'value 255, which the published labels do not have: they are coded by another tool, '
            'and every class may be taken for its neighbour'
        )
    if known.taken_for:
        others = [path.with_name(path.name.replace(*known.taken_for)) for path in missing[:20]]
        if there := [path.name for path in others if path.is_file()]:
            found.append(f'other label files are there ({there[0]}), but not {missing[0].name}')
    return found


def _check_labels(report: DataReport, values: set[int], ignore: int) -> None:
    pixels, number = report.pixels, len(report.classes)
    report.ignored = float(pixels[ignore] / max(int(pixels.sum()), 1))
    beyond = [v for v in np.flatnonzero(pixels).tolist() if number <= v != ignore]
    report.pixels, report.images = pixels[:number], report.images[:number]
    if beyond:
        report.problems.append(
            f'labels {beyond[0]} ... {beyond[-1]} after loading, but there are only {number} '
            f'classes (0 ... {number - 1}, {ignore} is ignored)'
        )
        report.example = None
    if max(values, default=0) > 255:
        report.problems.append(
            f'values up to {max(values)} in the files: mmseg reads labels in 8 bits'
        )
    seen = [name for name, count in zip(report.classes, report.pixels, strict=True) if count]
    if report.num_read and len(seen) <= min(1, report.num_read - 1):
        report.problems.append(f'every pixel is {" or ".join([*map(repr, seen), "ignored"])}')
    never = [name for name in report.classes if name not in seen]
    if report.num_read and never:
        some = ', '.join(never[:8]) + (' ...' if len(never) > 8 else '')
        report.notes.append(f'{len(never)} classes are in no label file read: {some}')
