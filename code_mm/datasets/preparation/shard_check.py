"""Reads every sample of a shard as training does and notes what is wrong and how large it is."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from code_mm.datasets.captions.caption_shards import CaptionShardsDataset, ShardSamples
from code_mm.datasets.sample_ledger import Skip
from code_mm.datasets.shards.shard_index_cache import load_or_scan
from code_mm.datasets.transforms import LoadCaptionImage, SelectNouns
from code_mm.structures.unusable_sample import UnusableSample


class ShardFindings(NamedTuple):
    """What a shard holds.

    Attributes:
        path: of the tar file.
        num_pairs: pairs of an image and a caption.
        num_checked: pairs that were read.
        num_usable: pairs that training would use.
        problems: all that is wrong, also several things with one sample.
        keys: (n,) bytes, of the samples with a readable caption and image.
        pair_hashes: (n, 2) uint64, of the image's bytes and of both; equal ones are duplicates.
        sizes: (n, 2) int32, width and height in pixels.
        caption_lengths: (c, 2) int32, characters and words of readable captions.
        noun_counts: (c,) int32, nouns of readable captions.
        num_replaced: captions with bytes that are no UTF-8.
        nouns: how many captions each noun is in.
        cache: look-ups in the noun cache: found, missing, changed.
    """

    path: str
    num_pairs: int
    num_checked: int
    num_usable: int
    problems: list[Skip]
    keys: np.ndarray
    pair_hashes: np.ndarray
    sizes: np.ndarray
    caption_lengths: np.ndarray
    noun_counts: np.ndarray
    num_replaced: int
    nouns: Counter
    cache: dict[str, int]


@dataclass(frozen=True)
class ShardCheck:
    """Settings of a check; calling it with a path checks that shard.

    Args:
        dataset: arguments of :class:`CaptionShardsDataset` other than ``shards``
            (``caption_extension``, ``caption_field``, ``noun_cache``, ``index_dir``, …).
        num_nouns: of ``SelectNouns``: fewer nouns in a caption are a problem.
        tagger: of ``SelectNouns``.
        word_type: of ``SelectNouns``.
        min_size: of ``LoadCaptionImage``: least width and height of an image in pixels.
        limit: samples read per shard, spread over it; None: all.
    """

    dataset: dict
    num_nouns: int = 2
    tagger: str = 'auto'
    word_type: str = 'noun'
    min_size: int = 16
    limit: int | None = None

    def __call__(self, path: str) -> ShardFindings:
        """Read a shard."""
        select = SelectNouns(self.num_nouns, self.tagger, self.word_type)
        dataset = CaptionShardsDataset(path, **self.dataset, pipeline=[select], lazy_init=True)
        index = load_or_scan(path, dataset.layout, dataset.index_dir)
        samples = ShardSamples([index])
        step = 1 if not self.limit else max(1, -(-len(samples) // self.limit))
        notes = _Notes(list(index.skips), LoadCaptionImage(self.min_size), select)
        for info in samples[::step]:
            notes.read(dataset, info)
        return ShardFindings(
            path=path,
            num_pairs=len(samples),
            num_checked=len(samples[::step]),
            num_usable=notes.num_usable,
            problems=notes.problems,
            keys=np.array(notes.keys, dtype=np.bytes_),
            pair_hashes=np.array(notes.hashes, np.uint64).reshape(-1, 2),
            sizes=np.array(notes.sizes, np.int32).reshape(-1, 2),
            caption_lengths=np.array(notes.lengths, np.int32).reshape(-1, 2),
            noun_counts=np.array(notes.noun_counts, np.int32),
            num_replaced=notes.num_replaced,
            nouns=notes.nouns,
            cache={},
        )


class _Notes:
    """Collects what is seen of one sample after the other."""

    def __init__(self, problems: list[Skip], load: LoadCaptionImage, select: SelectNouns) -> None:
        self.problems = problems
        self.num_usable = 0
        self.num_replaced = 0
        self.keys: list[bytes] = []
        self.hashes: list[tuple[int, int]] = []
        self.sizes: list[tuple[int, int]] = []
        self.lengths: list[tuple[int, int]] = []
        self.noun_counts: list[int] = []
        self.nouns: Counter = Counter()
        self._load = load
        self._select = select

    def read(self, dataset: CaptionShardsDataset, info: dict) -> None:
        """Read one sample; both its image and its nouns are looked at, whatever fails."""
        key, before = info['sample_key'], len(self.problems)
        sample = self._try(key, dataset.read_sample, info)
        if sample is None:
            return
        caption, content = sample['caption'], sample['img_bytes']
        self.lengths.append((len(caption), len(caption.split())))
        self.num_replaced += '\ufffd' in caption
        image = self._try(key, self._load, dict(img_bytes=content))
        self._try(key, self._select, sample)
        self.noun_counts.append(len(sample['nouns']))
        self.nouns.update(sample['nouns'])
        if image is not None:
            height, width = image['img_shape']
            self.keys.append(key.partition('/')[2].encode())
            self.hashes.append((_hash(content), _hash(content + b'\0' + caption.encode())))
            self.sizes.append((width, height))
        self.num_usable += len(self.problems) == before

    def _try(self, key: str, function, argument: dict) -> dict | None:
        try:
            return function(argument)
        except UnusableSample as problem:
            self.problems.append(Skip(problem.reason, key, problem.detail))
            return None


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), 'little')
