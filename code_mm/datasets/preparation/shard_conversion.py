"""Turns pairs of image files and captions into shards, in parallel and resumable."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from code_mm.datasets.captions.sample import checked_caption
from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.structures.unusable_sample import UnusableSample

from .caption_pairs import Pair
from .shard_writer import FailedSample, ShardSample, finished_stats, write_shard

_FORMAT = 1  # raise it when other bytes are written from the same pairs


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
        root: folder to write to.
        samples_per_shard: pairs per shard, usable or not.
        min_size: least width and height of an image in pixels.
    """

    root: Path
    samples_per_shard: int = 10_000
    min_size: int = 16

    def jobs(self, pairs: Sequence[Pair], shuffle: int | None = None) -> list[ShardJob]:
        """Deal pairs out to shards, in their order or shuffled with the seed ``shuffle``.

        Raises:
            ValueError: no pairs, or ``samples_per_shard`` below 1.
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
            digest = hashlib.sha256(text.encode()).hexdigest()
            jobs.append(ShardJob(len(jobs), chosen, digest))
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
            image = self._image(pair.image)
            extension = _extension(image)
            size = LoadCaptionImage(min_size=self.min_size)(dict(img_bytes=image))['img_shape']
        except UnusableSample as problem:
            return FailedSample(pair.caption or '', pair.image, problem.reason, problem.detail)
        return ShardSample(image, extension, caption, pair.image, size[1], size[0], pair.fields)

    @staticmethod
    def _image(path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise UnusableSample('missing_image', str(error) if path else '') from error

    def failures(self, jobs: Sequence[ShardJob]) -> Iterator[dict]:
        """What finished shards do not hold: key, url, caption and reason."""
        columns = ['key', 'url', 'caption', 'error_message']
        for job in jobs:
            stats = finished_stats(self.root, job.number, job.made_from)
            if stats is not None and stats['successes'] < stats['count']:
                table = pq.read_table(self.root / f'{job.number:05d}.parquet', columns=columns)
                for row in table.to_pylist():
                    if row['error_message']:
                        reason = row.pop('error_message')
                        yield dict(reason=reason, **row)


def _extension(image: bytes) -> str:
    """Extension of the member, by the first bytes; the file's own name may be wrong."""
    if image.startswith(b'\xff\xd8'):
        return 'jpg'
    if image.startswith(b'\x89PNG'):
        return 'png'
    if image[:4] == b'RIFF' and image[8:12] == b'WEBP':
        return 'webp'
    raise UnusableSample('broken_image', f'{len(image)} bytes that are no jpeg, png or webp')
