"""Reads every sample of shards as training does; reports what is in them and what is wrong."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from code_mm.datasets.captions.caption_shards import CaptionShardsDataset, ShardSamples
from code_mm.datasets.sample_ledger import Skip
from code_mm.datasets.shards.shard_index_cache import load_or_scan
from code_mm.datasets.transforms import LoadCaptionImage, LoadNouns, SelectNouns
from code_mm.structures.unusable_sample import UnusableSample

# Web data always has some of these; training counts and replaces them.
ALLOWED = ('few_nouns', 'empty_caption', 'duplicate_pair')
_SIZES = (
    'image width',  # pixels
    'image height',
    'caption characters',
    'caption words',
    'nouns per caption',
)
_QUANTILES = {'min': 0, '5 %': 5, 'median': 50, '95 %': 95, 'max': 100}


@dataclass
class ShardFindings:
    """What a shard holds.

    Attributes:
        path (str): Of the tar file.
        problems (list[Skip]): All that is wrong, also several things with one sample.
        counts (Counter): Pairs; those that were checked, and are usable; replaced captions.
        keys (list[bytes]): Of the samples with a readable caption and image.
        hashes (list[tuple[int, int]]): Of each of these: of the image's bytes, and of both; equal
            ones are duplicates.
        sizes (dict[str, list[int]]): Of each of ``_SIZES``, that of each readable image or caption.
        nouns (Counter): How many captions each noun is in.
        cache (dict[str, int]): Look-ups in the noun cache: found, missing, changed.
    """

    path: str
    problems: list[Skip]
    counts: Counter = field(default_factory=Counter)
    keys: list[bytes] = field(default_factory=list)
    hashes: list[tuple[int, int]] = field(default_factory=list)
    sizes: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in _SIZES})
    nouns: Counter = field(default_factory=Counter)
    cache: dict[str, int] = field(default_factory=dict)

    def attempt(self, key: str, function, argument: dict) -> dict | None:
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
        step = max(1, -(-len(samples) // self.limit)) if self.limit else 1
        found = ShardFindings(path, list(index.skips))
        found.counts.update(pairs=len(samples), checked=len(samples[::step]))
        for info in samples[::step]:
            key, before = info['sample_key'], len(found.problems)
            sample = found.attempt(key, dataset.read_sample, info)
            if sample is None:
                continue
            caption, content = sample['caption'], sample['img_bytes']
            nouns = load_nouns(sample)['nouns']
            image = found.attempt(key, load_image, dict(img_bytes=content))
            found.attempt(key, select_nouns, sample)
            found.counts['replaced'] += '\ufffd' in caption
            found.nouns.update(nouns)
            sizes = {
                'caption characters': len(caption),
                'caption words': len(caption.split()),
                'nouns per caption': len(nouns),
            }
            if image is not None:
                sizes['image height'], sizes['image width'] = image['img_shape']
                found.keys.append(key.partition('/')[2].encode())
                found.hashes.append((_hash(content), _hash(content + b'\0' + caption.encode())))
            for name, size in sizes.items():
                found.sizes[name].append(size)
            found.counts['usable'] += len(found.problems) == before
        found.cache = load_nouns.cache.counts() if load_nouns.cache else {}
        return found


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), 'little')


class ShardReport:
    """Adds up the findings of all shards.

    Args:
        num_nouns (int): That a caption must have.
        allowed (Sequence[str]): Reasons that do not count as broken.
    """

    def __init__(self, num_nouns: int = 2, allowed: Sequence[str] = ALLOWED) -> None:
        self.num_nouns = num_nouns
        self.allowed = tuple(allowed)
        self.nouns: Counter = Counter()
        self.counts: Counter = Counter(pairs=0, checked=0, usable=0, replaced=0)
        self.cache: Counter = Counter()
        # by path: problems, keys, hashes and sizes, compact, as there may be millions
        self._shards: dict[str, tuple[list[Skip], np.ndarray, np.ndarray, dict]] = {}

    def add(self, found: ShardFindings) -> None:
        """Take a shard's findings in, in any order."""
        for name in ('nouns', 'counts', 'cache'):
            getattr(self, name).update(getattr(found, name))
        hashes = np.array(found.hashes, np.uint64).reshape(-1, 2)
        sizes = {name: np.array(values, np.int32) for name, values in found.sizes.items()}
        keys = np.array(found.keys, np.bytes_)
        self._shards[found.path] = found.problems, keys, hashes, sizes

    def problems(self) -> list[Skip]:
        """All problems by shard, and the pairs that were there before as ``duplicate_pair``."""
        shards = sorted(self._shards.items())
        problems = [problem for _, (found, *_) in shards for problem in found]
        keys = [
            f'{Path(path).name}/{key.decode()}' for path, (_, keys, *_) in shards for key in keys
        ]
        hashes = np.concatenate([hashes[:, 1] for _, (_, _, hashes, _) in shards])
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        original = first[inverse]
        return problems + [
            Skip('duplicate_pair', keys[i], f'same as {keys[original[i]]}')
            for i in np.flatnonzero(original != np.arange(len(hashes)))
        ]

    def summary(self, num_top: int = 50) -> dict:
        """Counts and statistics, for json.

        Args:
            num_top (int): Most frequent nouns that are listed.
        """
        reasons = Counter(problem.reason for problem in self.problems())
        shards = self._shards.values()
        images = np.concatenate([hashes[:, 0] for _, _, hashes, _ in shards])
        sizes = {name: np.concatenate([found[name] for *_, found in shards]) for name in _SIZES}
        num_nouns = sizes['nouns per caption']
        # by number, then by name, so that the order does not depend on that of the shards
        frequent = sorted(self.nouns.items(), key=lambda item: (-item[1], item[0]))
        return {
            'shards': len(shards),
            **{name: self.counts[name] for name in ('pairs', 'checked', 'usable')},
            'problems': dict(reasons.most_common()),
            'allowed': list(self.allowed),
            'broken': sum(n for reason, n in reasons.items() if reason not in self.allowed),
            'captions': len(num_nouns),
            'repeated_images': len(images) - len(np.unique(images)),
            'captions_with_invalid_utf8': self.counts['replaced'],
            'captions_without_nouns': int((num_nouns == 0).sum()),
            f'captions_with_fewer_than_{self.num_nouns}_nouns': int(
                (num_nouns < self.num_nouns).sum()
            ),
            'noun_cache': dict(self.cache),
            'statistics': {name: _quantiles(values) for name, values in sizes.items()},
            'distinct_nouns': len(self.nouns),
            'most_frequent_nouns': dict(frequent[:num_top]),
        }


def _quantiles(values: np.ndarray) -> dict:
    if not values.size:
        return {}
    results = np.percentile(values, list(_QUANTILES.values())).tolist()
    return dict(zip(_QUANTILES, results, strict=True)) | {'mean': float(values.mean())}


def report_page(summary: dict, picture: str | None = None) -> str:
    """A summary as a markdown page.

    Args:
        summary (dict): Of :meth:`ShardReport.summary`.
        picture (str, optional): File name of the picture of the nouns.
    """
    counts = [
        (key.replace('_', ' '), value) for key, value in summary.items() if isinstance(value, int)
    ]
    counts += [(f'noun cache: {state}', value) for state, value in summary['noun_cache'].items()]
    problems = [
        (reason, number, 'no' if reason in summary['allowed'] else 'yes')
        for reason, number in summary['problems'].items()
    ]
    columns = [*_QUANTILES, 'mean']
    sizes = [
        (name, *(f'{values[column]:,.1f}' if values else '' for column in columns))
        for name, values in summary['statistics'].items()
    ]
    nouns = summary['most_frequent_nouns'].items()
    lines = ['# Check of shards', *_table(['', ''], counts)]
    lines += ['', '## Problems', *_table(['reason', 'number', 'counts as broken'], problems)]
    lines += ['', '## Sizes', *_table(['', *columns], sizes)]
    lines += ['', '## Most frequent nouns', *_table(['noun', 'captions'], nouns)]
    if picture:
        lines += ['', f'![Most frequent nouns]({picture})']
    return '\n'.join(lines) + '\n'


def _table(header: Sequence[str], rows: Iterable[Sequence]) -> list[str]:
    lines = ['', f'| {" | ".join(header)} |', '| --- |' + ' ---: |' * (len(header) - 1)]
    for row in rows:
        cells = [f'{c:,}' if isinstance(c, int) else c.replace('|', '&#124;') for c in row]
        lines.append(f'| {" | ".join(cells)} |')
    return lines
