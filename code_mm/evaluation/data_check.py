"""Is a benchmark's data what it is published to be? Wrong labels give useless scores in silence."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from .label_files import LabelCounts, count_labels
from .published_benchmarks import BENCHMARKS, LabelEvidence, PublishedBenchmark

_SHOWN = 3


@dataclass
class DataReport:
    """What was found in the data of one benchmark.

    Args:
        name (str): Of the benchmark.
        data_root (str): Where its files are.
        num_images (int): Images of the split.
        num_labels (int): Of these, images whose label file exists.
        num_read (int): Label files that were read.
        classes (Sequence[str]): Class names in label order.
        pixels (np.ndarray): [classes] pixels of each class in the files read.
        images (np.ndarray): [classes] images with each class.
        ignored (float): Share of ignored pixels, in [0, 1].
        problems (list[str]): What is wrong; scores on these data mean nothing.
        notes (list[str]): What may be as it should be.
        preparation (str): How the files are made.
        example (dict | None): ``img_path`` and ``labels`` (H, W) of the image with the most labels.
        palette (Sequence): RGB colours in label order.
    """

    name: str
    data_root: str
    num_images: int = 0
    num_labels: int = 0
    num_read: int = 0
    classes: tuple[str, ...] = ()
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    preparation: str = ''
    example: dict | None = None
    palette: list = field(default_factory=list)

    @property
    def shares(self) -> np.ndarray:
        """Share [classes] of every class among the pixels that count."""
        return self.pixels / max(int(self.pixels.sum()), 1)


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
    known = BENCHMARKS.get(dataset['type'].rpartition('.')[-1])
    report = DataReport(name, str(dataset.get('data_root') or '.'))
    report.preparation = known.preparation if known else ''
    report.problems += _absent_places(dataset)
    if report.problems:
        return report
    built = DATASETS.build(dict(dataset, test_mode=True))
    items = [built.get_data_info(number) for number in range(len(built))]
    missing = _check_files(report, items, built, known)
    there = [i for i in items if _exists(i['img_path']) and _exists(i['seg_map_path'])]
    chosen = _spread(there, limit)
    counted = count_labels(chosen, _loader(name, built), num_threads, track)
    _check_labels(report, counted, built, known, missing)
    if counted.most_varied is not None:
        item = chosen[counted.most_varied]
        labels = _loader(name, built)(dict(item, seg_fields=[]))['gt_seg_map']
        report.example = dict(img_path=item['img_path'], labels=labels)
    return report


def _exists(path: str) -> bool:
    return Path(path).is_file()


def _spread(items: list, limit: int | None) -> list:
    if limit is None or limit >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, max(1, limit)).astype(int)]


def _loader(name: str, dataset: BaseSegDataset) -> LoadAnnotations:
    found = [t for t in dataset.pipeline.transforms if isinstance(t, LoadAnnotations)]
    if not found:
        raise ValueError(f'{name}: expected LoadAnnotations in the pipeline, but got none')
    return found[0]


def _absent_places(dataset: Mapping) -> list[str]:
    """Folders and lists of the config that do not exist."""
    root = Path(dataset.get('data_root') or '.')
    places = [root, *(root / place for place in dataset['data_prefix'].values())]
    if dataset.get('ann_file'):
        places.append(root / dataset['ann_file'])
    absent = [place for place in places if not place.exists()]
    if absent and absent[0] == root:
        return [f'the folder {root} does not exist; data_root of the config says where the data is']
    return [f'{place} does not exist' for place in absent]


def _check_files(
    report: DataReport, items: list, dataset: BaseSegDataset, known: PublishedBenchmark | None
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
    for kind, paths in (('images', images), ('labels', missing)):
        if paths:
            shown = ', '.join(str(path) for path in paths[:_SHOWN])
            report.problems.append(f'{len(paths)} {kind} do not exist: {shown}')
    if not dataset.ann_file:
        folder = Path(dataset.data_prefix['seg_map_path'])
        labels = set(folder.rglob(f'*{dataset.seg_map_suffix}'))
        alone = sorted(labels - {Path(i['seg_map_path']) for i in items})
        if alone:
            report.problems.append(
                f'{len(alone)} labels without image: '
                + ', '.join(path.name for path in alone[:_SHOWN])
            )
    return missing


def _check_labels(
    report: DataReport,
    counted: LabelCounts,
    dataset: BaseSegDataset,
    known: PublishedBenchmark | None,
    missing: list[Path],
) -> None:
    number, ignore = len(report.classes), dataset.ignore_index
    report.num_read = counted.num_read
    report.pixels, report.images = counted.pixels[:number], counted.images[:number]
    report.ignored = float(counted.pixels[ignore] / max(int(counted.pixels.sum()), 1))
    problems = report.problems
    seen = LabelEvidence(counted.values, missing)
    if known:
        problems += [mistake.message for mistake in known.mistakes if mistake.shows(seen)]
    if counted.colour_files:
        problems.append(
            f'{len(counted.colour_files)} label files are colour pictures with several channels '
            f'({counted.colour_files[0].name}); pixel values must be the classes: use the '
            'published files, which no program has converted to RGB'
        )
    beyond = [v for v in np.flatnonzero(counted.pixels).tolist() if number <= v != ignore]
    if beyond:
        problems.append(
            f'labels {beyond[0]} ... {beyond[-1]} after loading, but there are only {number} '
            f'classes (0 ... {number - 1}, {ignore} is ignored)'
        )
    if counted.values and max(counted.values) > 255:
        problems.append(
            f'values up to {max(counted.values)} in the files: mmseg reads labels in 8 bits'
        )
    for what, files in (
        ('labels differ from their image in size', counted.other_sizes),
        ('files cannot be read', counted.unreadable),
    ):
        if files:
            problems.append(f'{len(files)} {what}: ' + '; '.join(files[:_SHOWN]))
    if counted.num_read and not report.pixels.any():
        problems.append('every pixel is ignored')
    elif counted.num_read and np.count_nonzero(report.pixels) == 1 < counted.num_read:
        only = report.classes[int(report.pixels.argmax())]
        problems.append(f'every pixel is {only!r} or ignored')
    never = [name for name, pixels in zip(report.classes, report.pixels, strict=True) if not pixels]
    if counted.num_read and never:
        report.notes.append(
            f'{len(never)} classes are in none of the {counted.num_read} label files read: '
            + ', '.join(never[:8])
            + (' ...' if len(never) > 8 else '')
        )
