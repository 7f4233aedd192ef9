"""Turns pairs of image files and captions into shards, in parallel and resumable."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from code_mm.apis.input_images import is_system_file
from code_mm.datasets.captions.caption_list import read_rows, split_nouns
from code_mm.datasets.captions.sample import checked_caption, decode_caption
from code_mm.datasets.preparation.shard_writer import (
    FailedSample,
    ShardSample,
    finished_stats,
    write_shard,
)
from code_mm.datasets.sample_ledger import Skip
from code_mm.datasets.transforms.load_caption_image import LoadCaptionImage, read_image_file
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.text_file import open_text

_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
_FORMAT = 2  # raise it when other bytes are written from the same pairs


class Pair(NamedTuple):
    """A pair that may still turn out to be unusable."""

    image: str  # path; empty where none was named
    caption: str | None
    fields: dict  # what else is known of it


def read_coco_pairs(path: str, image_folder: str, captions: str = 'all') -> list[Pair]:
    """Pairs of a COCO file ``captions_*.json``, in the order of its images.

    Args:
        path (str): Json object with ``images`` (id, file_name) and ``annotations`` (image_id,
            caption).
        image_folder (str): Before the file names.
        captions (str): An image has five or so. 'all': a pair for each (the image is repeated);
            'first': the one with the least annotation id.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: not valid json: {error}') from error
    if 'images' not in content or not any('caption' in a for a in content.get('annotations', ())):
        raise ValueError(
            f'expected {path} to be a COCO captions file (captions_train2017.json), with images, '
            f'annotations and captions, but it has {sorted(content)}'
        )
    annotations: dict[int, list[dict]] = {}
    for row in sorted(content['annotations'], key=lambda row: row['id']):
        annotations.setdefault(row['image_id'], []).append(row)
    pairs = []
    for image in content['images']:
        name = os.path.join(image_folder, image['file_name'])
        rows = annotations.pop(image['id'], [{}])
        for row in rows if captions == 'all' else rows[:1]:
            fields = dict(image_id=image['id'], annotation_id=row.get('id'))
            pairs.append(Pair(name, row.get('caption'), fields))
    for rows in annotations.values():  # of images that the file does not name
        pairs += [Pair('', row.get('caption'), dict(image_id=row['image_id'])) for row in rows]
    return pairs


def read_list_pairs(
    path: str,
    image_folder: str,
    image_key: str,
    caption_key: str,
    columns: Sequence[str] | None,
    skips: list[Skip],
) -> list[Pair]:
    """Pairs of a list as of :class:`CaptionListDataset`; other columns go to ``fields``.

    Rows that cannot be read are appended to ``skips``.
    """
    pairs = []
    for line, row in read_rows(path, (image_key, caption_key), columns, skips):
        try:
            if isinstance(row.get('nouns'), str):
                row['nouns'] = split_nouns(row['nouns'])
        except UnusableSample as problem:
            skips.append(Skip(problem.reason, f'{os.path.basename(path)}:{line}', problem.detail))
            continue
        image, caption = row.pop(image_key, None), row.pop(caption_key, None)
        image = image.strip() if isinstance(image, str) else ''
        name = image and os.path.join(image_folder, image)
        pairs.append(Pair(name, caption if isinstance(caption, str) else None, row))
    return pairs


def read_folder_pairs(folder: str, skips: list[Skip]) -> list[Pair]:
    """Images below a folder with the text of the same name beside them (``a.jpg``, ``a.txt``).

    Images without a text have no caption, texts without an image are pairs without image; other
    files are appended to ``skips``.
    """
    files = sorted(p for p in Path(folder).rglob('*') if p.is_file() and not is_system_file(p))
    texts = {
        path.with_suffix(''): decode_caption(path.read_bytes())
        for path in files
        if path.suffix.lower() == '.txt'
    }
    images = [path for path in files if path.suffix.lower() in _IMAGE_SUFFIXES]
    pairs = [Pair(str(path), texts.get(path.with_suffix('')), {}) for path in images]
    known = ('.txt', *_IMAGE_SUFFIXES)
    others = [str(path) for path in files if path.suffix.lower() not in known]
    skips += [Skip('unused_member', name, 'neither image nor .txt') for name in others]
    lonely = texts.keys() - {path.with_suffix('') for path in images}
    return pairs + [Pair('', text, {}) for stem, text in texts.items() if stem in lonely]


def is_coco(path: str) -> bool:
    """Whether a json file holds an object (COCO), not a list of rows."""
    if not path.lower().endswith('.json'):
        return False
    with open_text(path) as file:
        return next((line for line in file if line.strip()), '').lstrip().startswith('{')


class ShardJob(NamedTuple):
    """A shard to write."""

    root: Path  # folder
    number: int
    pairs: list[Pair]
    digits: int  # of a pair's position in its key
    min_size: int  # least width and height of an image in pixels
    made_from: str  # tells a shard of the same pairs and settings from others

    def finished_stats(self) -> dict | None:
        """Stats of the shard if it was written before, from the same pairs, else None."""
        return finished_stats(self.root, self.number, self.made_from)


def shard_jobs(
    pairs: Sequence[Pair],
    root: Path,
    samples_per_shard: int = 10_000,
    min_size: int = 16,
    shuffle: int | None = None,
) -> list[ShardJob]:
    """Deal pairs out to shards, in their order or shuffled with the seed ``shuffle``."""
    if samples_per_shard < 1:
        raise ValueError(f'expected samples_per_shard >= 1, but got {samples_per_shard}')
    if not pairs:
        raise ValueError('expected at least one pair of image and caption, but got none')
    order = np.arange(len(pairs))
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(order)
    digits, jobs = max(4, len(str(samples_per_shard - 1))), []
    for start in range(0, len(pairs), samples_per_shard):
        chosen = [pairs[i] for i in order[start : start + samples_per_shard]]
        text = json.dumps([_FORMAT, samples_per_shard, min_size, chosen])
        made_from = hashlib.sha256(text.encode()).hexdigest()
        jobs.append(ShardJob(root, len(jobs), chosen, digits, min_size, made_from))
    return jobs


def convert(job: ShardJob) -> dict:
    """Write one shard; images are decoded to check them and copied unchanged.

    A pair without image or caption, or with a broken or too small image, is not written;
    the returned stats, see :func:`write_shard`, name it with the reason.
    """
    samples = (_checked(pair, job.min_size) for pair in job.pairs)
    return write_shard(job.root, job.number, samples, job.digits, job.made_from)


def _checked(pair: Pair, min_size: int) -> ShardSample | FailedSample:
    try:
        caption = checked_caption(pair.caption)
        if not pair.image:
            raise UnusableSample('missing_image')
        image = read_image_file(pair.image)
        extension = _extension(image)
        height, width = LoadCaptionImage(min_size)(dict(img_bytes=image))['img_shape']
    except UnusableSample as problem:
        return FailedSample(pair.caption or '', pair.image, problem.reason, problem.detail)
    return ShardSample(image, extension, caption, pair.image, width, height, pair.fields)


def _extension(image: bytes) -> str:
    """Extension of the member, by the first bytes; the file's own name may be wrong."""
    for start, extension in ((b'\xff\xd8', 'jpg'), (b'\x89PNG', 'png'), (b'RIFF', 'webp')):
        if image.startswith(start):
            return extension
    raise UnusableSample('broken_image', f'{len(image)} bytes that are no jpeg, png or webp')
