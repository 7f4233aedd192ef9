"""Reads every sample of shards as training does; reports what is in them and what is wrong."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from code_mm.datasets.captions.caption_shards import CaptionShardsDataset, ShardSamples
from code_mm.datasets.captions.sample import draw_caption
from code_mm.datasets.sample_ledger import Skip, count_by_reason
from code_mm.datasets.shards.shard_index import load_or_scan
from code_mm.datasets.transforms import LoadCaptionImage, LoadNouns, SelectNouns
from code_mm.structures.unusable_sample import UnusableSample

# Web data always has some of these; training counts and replaces them.
ALLOWED = ('few_nouns', 'empty_caption', 'duplicate_pair', 'unused_member')
_IMAGE_SIZES = ('image width', 'image height')  # pixels; 0 where it cannot be read
_SIZES = (*_IMAGE_SIZES, 'caption characters', 'caption words', 'nouns per caption')
_QUANTILES = {'min': 0, '5 %': 5, 'median': 50, '95 %': 95, 'max': 100}


@dataclass
class ShardFindings:
    """What a shard holds."""

    path: str
    problems: list[Skip]  # all that is wrong, also several things with one sample
    counts: Counter  # pairs, checked, usable; replaced captions
    nouns: Counter = field(default_factory=Counter)  # how many captions each is in
    cache: dict[str, int] = field(default_factory=dict)  # look-ups: found, missing, changed
    # of the samples with a readable caption: key, hash of the image's bytes and of both (equal
    # ones are duplicates), sizes; compact, as there may be millions
    rows: np.ndarray | None = None

    def attempt(self, key: str, function: Callable, argument: dict) -> dict | None:
        """``function(argument)``, or None (noted) where that is unusable."""
        try:
            return function(argument)
        except UnusableSample as problem:
            self.problems.append(Skip(problem.reason, key, problem.detail))
            return None


@dataclass(frozen=True)
class ShardCheck:
    """Settings of a check; calling it with a path checks that shard.

    Args:
        dataset (dict): Arguments of :class:`CaptionShardsDataset` other than ``shards``
            (``caption_extension``, ``caption_field``, ``index_dir``, …).
        nouns (dict): Arguments of :class:`LoadNouns`.
        num_nouns (int): Of :class:`SelectNouns`: fewer nouns in a caption are a problem.
        min_size (int): Of :class:`LoadCaptionImage`: least side of an image in pixels.
        limit (int, optional): Samples read per shard, spread over it. Default: all.
    """

    dataset: dict = field(default_factory=dict)
    nouns: dict = field(default_factory=dict)
    num_nouns: int = 2
    min_size: int = 16
    limit: int | None = None

    def __call__(self, path: str) -> ShardFindings:
        """Read a shard; both image and nouns of a sample are looked at, whatever fails."""
        dataset = CaptionShardsDataset(path, **self.dataset, lazy_init=True)
        load_image, load_nouns = LoadCaptionImage(self.min_size), LoadNouns(**self.nouns)
        select_nouns = SelectNouns(self.num_nouns)
        index = load_or_scan(path, dataset.layout, dataset.index_dir)
        samples = ShardSamples([index])
        chosen = samples[:: max(1, -(-len(samples) // self.limit)) if self.limit else 1]
        counts, rows = Counter(pairs=len(samples), checked=len(chosen)), []
        found = ShardFindings(path, list(index.skips), counts)
        for info in chosen:
            key, before = info['sample_key'], len(found.problems)
            sample = found.attempt(key, dataset.read_sample, info)
            if sample is None:
                continue
            sample = draw_caption(sample)
            caption, content = sample['caption'], sample['img_bytes']
            nouns = load_nouns(sample)['nouns']
            image = found.attempt(key, load_image, dict(img_bytes=content))
            found.attempt(key, select_nouns, sample)
            height, width = image['img_shape'] if image else (0, 0)
            hashes = _hash(content), _hash(content + b'\0' + caption.encode())
            sizes = width, height, len(caption), len(caption.split()), len(nouns)
            rows.append((key.encode(), *hashes, *sizes))
            found.nouns.update(nouns)
            counts['replaced'] += '\ufffd' in caption
            counts['usable'] += len(found.problems) == before
        found.cache = load_nouns.cache.counts() if load_nouns.cache else {}
        longest = max((len(key) for key, *_ in rows), default=1)
        columns = [('key', f'S{longest}'), ('image', 'u8'), ('pair', 'u8')]
        found.rows = np.array(rows, [*columns, *((name, 'i4') for name in _SIZES)])
        return found


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), 'little')


class ShardReport:
    """Adds up the findings of all shards.

    Args:
        allowed (Sequence[str]): Reasons that do not count as broken.
    """

    def __init__(self, allowed: Sequence[str] = ALLOWED) -> None:
        self.allowed = tuple(allowed)
        self.nouns, self.cache = Counter(), Counter()
        self.counts = Counter(pairs=0, checked=0, usable=0, replaced=0)
        self._shards: dict[str, tuple[list[Skip], np.ndarray]] = {}

    def add(self, found: ShardFindings) -> None:
        """Take a shard's findings in, in any order."""
        for name in ('nouns', 'counts', 'cache'):
            getattr(self, name).update(getattr(found, name))
        self._shards[found.path] = found.problems, found.rows

    def _rows(self) -> np.ndarray:
        return np.concatenate([rows for _, (_, rows) in sorted(self._shards.items())])

    def problems(self) -> list[Skip]:
        """All problems by shard, and the pairs that were there before as ``duplicate_pair``."""
        rows = self._rows()
        rows = rows[rows['image width'] > 0]
        _, first, inverse = np.unique(rows['pair'], return_index=True, return_inverse=True)
        original = first[inverse]
        keys = np.char.decode(rows['key'], 'utf-8')
        return [
            *(problem for _, (found, _) in sorted(self._shards.items()) for problem in found),
            *(
                Skip('duplicate_pair', str(keys[i]), f'same as {keys[original[i]]}')
                for i in np.flatnonzero(original != np.arange(len(rows)))
            ),
        ]

    def summary(self, num_top: int = 50) -> dict:
        """Counts, statistics and the ``num_top`` most frequent nouns, for json."""
        reasons, rows = count_by_reason(self.problems()), self._rows()
        has_image = rows['image width'] > 0
        images = rows['image'][has_image]
        # by number, then by name, so that the order does not depend on that of the shards
        frequent = sorted(self.nouns.items(), key=lambda item: (-item[1], item[0]))
        return {
            'shards': len(self._shards),
            **{name: self.counts[name] for name in ('pairs', 'checked', 'usable')},
            'problems': dict(reasons.most_common()),
            'allowed': list(self.allowed),
            'broken': sum(n for reason, n in reasons.items() if reason not in self.allowed),
            'captions': len(rows),
            'repeated_images': len(images) - len(np.unique(images)),
            'captions_with_invalid_utf8': self.counts['replaced'],
            'captions_without_nouns': int((rows['nouns per caption'] == 0).sum()),
            'noun_cache': dict(self.cache),
            'statistics': {
                name: _quantiles(rows[name][has_image] if name in _IMAGE_SIZES else rows[name])
                for name in _SIZES
            },
            'distinct_nouns': len(self.nouns),
            'most_frequent_nouns': dict(frequent[:num_top]),
        }


def _quantiles(values: np.ndarray) -> dict:
    if not values.size:
        return {}
    results = np.percentile(values, list(_QUANTILES.values())).tolist()
    return dict(zip(_QUANTILES, results, strict=True)) | {'mean': float(values.mean())}
