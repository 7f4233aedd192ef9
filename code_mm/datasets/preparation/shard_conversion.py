"""Turns pairs of image files and captions into shards, in parallel and resumable."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from code_mm.datasets.captions.caption_rows import read_rows, split_nouns
from code_mm.datasets.captions.sample import checked_caption
from code_mm.datasets.sample_ledger import Skip
from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.structures.unusable_sample import UnusableSample

from .shard_writer import FailedSample, ShardSample, finished_stats, write_shard

CAPTIONS_OF_AN_IMAGE = ('all', 'first', 'random')
_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
_FORMAT = 1  # raise it when other bytes are written from the same pairs


class Pair(NamedTuple):
    """A pair that may still turn out to be unusable.

    Attributes:
        image (str): Path of the file; empty where none was named.
        caption (str, optional): Text; None where there is none.
        fields (dict): What else is known of it.
    """

    image: str
    caption: str | None
    fields: dict


def read_coco_pairs(
    path: str, image_folder: str, captions: str = 'all', seed: int = 0
) -> list[Pair]:
    """Pairs of a COCO file ``captions_*.json``, in the order of its images.

    Args:
        path (str): Json object with ``images`` (id, file_name) and ``annotations`` (image_id,
            caption).
        image_folder (str): Before the file names.
        captions (str): An image has five or so. 'all': a pair for each (the image is repeated);
            'first': the one with the least annotation id; 'random': one drawn with ``seed``.
        seed (int): Of 'random'.

    Raises:
        ValueError: If it is no such file, or ``captions`` is unknown.
    """
    if captions not in CAPTIONS_OF_AN_IMAGE:
        raise ValueError(f'expected captions as one of {CAPTIONS_OF_AN_IMAGE}, but got {captions}')
    content = json.loads(Path(path).read_text(encoding='utf-8'))
    missing = [key for key in ('images', 'annotations') if key not in content]
    if missing or not any('caption' in row for row in content['annotations']):
        raise ValueError(
            f'expected {path} to be a COCO captions file (captions_train2017.json), with images, '
            f'annotations and captions, but it has {sorted(content)}'
        )
    annotations: dict[int, list[dict]] = {}
    for row in sorted(content['annotations'], key=lambda row: row['id']):
        annotations.setdefault(row['image_id'], []).append(row)
    rng = np.random.default_rng(seed)
    pairs = []
    for image in content['images']:
        rows = annotations.pop(image['id'], [{}])
        if captions != 'all':
            rows = [rows[0 if captions == 'first' else rng.integers(len(rows))]]
        name = os.path.join(image_folder, image['file_name'])
        for row in rows:
            fields = dict(image_id=image['id'], annotation_id=row.get('id'))
            pairs.append(Pair(name, row.get('caption'), fields))
    for rows in annotations.values():  # of images that the file does not name
        pairs += [Pair('', row.get('caption'), dict(image_id=row['image_id'])) for row in rows]
    return pairs


def read_list_pairs(
    path: str,
    image_folder: str,
    image_key: str = 'image',
    caption_key: str = 'caption',
    columns: Sequence[str] | None = None,
    skips: list[Skip] | None = None,
) -> list[Pair]:
    """Pairs of a json, jsonl, csv or tsv list; other columns go to ``fields``.

    Args:
        path (str): See :class:`~code_mm.datasets.captions.caption_list.CaptionListDataset`.
        image_folder (str): Before relative image paths.
        image_key (str): Column of the image's path.
        caption_key (str): Column of the caption.
        columns (Sequence[str], optional): Of a csv or tsv file without a header line.
        skips (list[Skip], optional): Rows that cannot be read are appended here.
    """
    pairs, skips = [], [] if skips is None else skips
    for line, row in read_rows(path, (image_key, caption_key), columns, skips):
        try:
            if isinstance(row.get('nouns'), str):
                row['nouns'] = split_nouns(row['nouns'])
        except UnusableSample as problem:
            skips.append(Skip(problem.reason, f'{os.path.basename(path)}:{line}', problem.detail))
            continue
        image, caption = row.pop(image_key, None), row.pop(caption_key, None)
        is_named = isinstance(image, str) and image.strip()
        name = os.path.join(image_folder, image.strip()) if is_named else ''
        pairs.append(Pair(name, caption if isinstance(caption, str) else None, row))
    return pairs


def read_folder_pairs(folder: str) -> list[Pair]:
    """Images below a folder with the text of the same name beside them (``a.jpg``, ``a.txt``).

    Images without a text have no caption, texts without an image are pairs without image.
    """
    files = sorted(path for path in Path(folder).rglob('*') if path.is_file())
    texts = {
        path.with_suffix(''): path.read_bytes().decode('utf-8-sig', 'replace')
        for path in files
        if path.suffix.lower() == '.txt'
    }
    images = [path for path in files if path.suffix.lower() in _IMAGE_SUFFIXES]
    pairs = [Pair(str(path), texts.get(path.with_suffix('')), {}) for path in images]
    lonely = texts.keys() - {path.with_suffix('') for path in images}
    return pairs + [Pair('', text, {}) for stem, text in texts.items() if stem in lonely]


def is_coco(path: str) -> bool:
    """Whether a json file holds an object (COCO), not a list of rows."""
    if not path.endswith('.json'):
        return False
    return Path(path).read_text('utf-8-sig', 'replace').lstrip().startswith('{')


class ShardJob(NamedTuple):
    """A shard to write: its number, pairs and what identifies them."""

    number: int
    pairs: list[Pair]
    made_from: str


@dataclass(frozen=True)
class ShardConversion:
    """Writes pairs as shards; images are decoded to check them and copied unchanged.

    A pair without image or caption, or with a broken or too small image, is not written;
    the shard's parquet file keeps it with the reason.

    Args:
        root (Path): Folder to write to.
        samples_per_shard (int): Pairs per shard, usable or not.
        min_size (int): Least width and height of an image in pixels.
    """

    root: Path
    samples_per_shard: int = 10_000
    min_size: int = 16

    def jobs(self, pairs: Sequence[Pair], shuffle: int | None = None) -> list[ShardJob]:
        """Deal pairs out to shards, in their order or shuffled with the seed ``shuffle``.

        Raises:
            ValueError: If there are no pairs, or ``samples_per_shard`` is below 1.
        """
        if self.samples_per_shard < 1:
            raise ValueError(f'expected samples_per_shard >= 1, but got {self.samples_per_shard}')
        if not pairs:
            raise ValueError('expected at least one pair of image and caption, but got none')
        order = np.arange(len(pairs))
        if shuffle is not None:
            np.random.default_rng(shuffle).shuffle(order)
        jobs = []
        for start in range(0, len(pairs), self.samples_per_shard):
            chosen = [pairs[i] for i in order[start : start + self.samples_per_shard]]
            text = json.dumps([_FORMAT, self.samples_per_shard, self.min_size, chosen])
            jobs.append(ShardJob(len(jobs), chosen, hashlib.sha256(text.encode()).hexdigest()))
        return jobs

    def is_done(self, job: ShardJob) -> bool:
        """Whether the shard was written before, from the same pairs."""
        return finished_stats(self.root, job.number, job.made_from) is not None

    def write(self, job: ShardJob) -> dict:
        """Write one shard; returns its stats, see :func:`write_shard`."""
        digits = max(4, len(str(self.samples_per_shard - 1)))
        samples = (self._sample(pair) for pair in job.pairs)
        return write_shard(self.root, job.number, samples, digits, job.made_from)

    def _sample(self, pair: Pair) -> ShardSample | FailedSample:
        try:
            caption = checked_caption(pair.caption)
            image = _read(pair.image)
            extension = _extension(image)
            height, width = LoadCaptionImage(self.min_size)(dict(img_bytes=image))['img_shape']
        except UnusableSample as problem:
            return FailedSample(pair.caption or '', pair.image, problem.reason, problem.detail)
        return ShardSample(image, extension, caption, pair.image, width, height, pair.fields)

    def failures(self, jobs: Sequence[ShardJob]) -> Iterator[dict]:
        """What finished shards do not hold: key, url, caption and reason."""
        columns = ['error_message', 'key', 'url', 'caption']
        for job in jobs:
            stats = finished_stats(self.root, job.number, job.made_from)
            if stats is not None and stats['successes'] < stats['count']:
                table = pq.read_table(self.root / f'{job.number:05d}.parquet', columns=columns)
                table = table.rename_columns(['reason', *columns[1:]])
                yield from (row for row in table.to_pylist() if row['reason'])


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UnusableSample('missing_image', str(error) if path else '') from error


def _extension(image: bytes) -> str:
    """Extension of the member, by the first bytes; the file's own name may be wrong."""
    if image.startswith(b'\xff\xd8'):
        return 'jpg'
    if image.startswith(b'\x89PNG'):
        return 'png'
    if image[:4] == b'RIFF' and image[8:12] == b'WEBP':
        return 'webp'
    raise UnusableSample('broken_image', f'{len(image)} bytes that are no jpeg, png or webp')
