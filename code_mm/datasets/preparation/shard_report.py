"""What a check of many shards found, as numbers, as a page and as a list of problems."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from code_mm.datasets.sample_ledger import Skip

from .shard_check import ShardFindings

_QUANTILES = {'min': 0, '5 %': 5, 'median': 50, '95 %': 95, 'max': 100}
# Web data always has some of these; training counts and replaces them.
ALLOWED = ('few_nouns', 'empty_caption', 'duplicate_pair')


class ShardReport:
    """Adds up the findings of all shards.

    Args:
        num_nouns: that a caption must have.
        allowed: reasons that do not count as broken.
    """

    def __init__(self, num_nouns: int = 2, allowed: Sequence[str] = ALLOWED) -> None:
        self.num_nouns = num_nouns
        self.allowed = tuple(allowed)
        self.nouns: Counter = Counter()
        self._findings: list[ShardFindings] = []

    def add(self, findings: ShardFindings) -> None:
        """Take a shard's findings in, in any order."""
        self.nouns.update(findings.nouns)
        self._findings.append(findings._replace(nouns=Counter()))  # words once, not per shard

    def problems(self) -> list[Skip]:
        """All problems by shard, and the pairs that were there before as ``duplicate_pair``."""
        self._findings.sort(key=lambda findings: findings.path)
        found = [problem for findings in self._findings for problem in findings.problems]
        return found + self._duplicate_pairs()

    def _duplicate_pairs(self) -> list[Skip]:
        hashes = self._joined('pair_hashes')[:, 1]
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        original = first[inverse]
        names = [f'{Path(f.path).name}/' for f in self._findings for _ in f.keys]
        keys = self._joined('keys') if names else []
        return [
            Skip(
                'duplicate_pair',
                f'{names[i]}{keys[i].decode()}',
                f'same as {names[original[i]]}{keys[original[i]].decode()}',
            )
            for i in np.flatnonzero(original != np.arange(len(hashes)))
        ]

    def _joined(self, field: str) -> np.ndarray:
        return np.concatenate([getattr(findings, field) for findings in self._findings])

    def summary(self, num_top: int = 50) -> dict:
        """Counts and statistics, for json.

        Args:
            num_top: most frequent nouns that are listed.
        """
        reasons = Counter(problem.reason for problem in self.problems())
        image_hashes = self._joined('pair_hashes')[:, 0]
        counts = self._joined('noun_counts')
        lengths, sizes = self._joined('caption_lengths'), self._joined('sizes')
        cache: Counter = Counter()
        for findings in self._findings:
            cache.update(findings.cache)
        return {
            'shards': len(self._findings),
            'pairs': sum(f.num_pairs for f in self._findings),
            'checked': sum(f.num_checked for f in self._findings),
            'usable': sum(f.num_usable for f in self._findings),
            'problems': dict(reasons.most_common()),
            'allowed': list(self.allowed),
            'broken': sum(n for reason, n in reasons.items() if reason not in self.allowed),
            'captions': len(counts),
            'repeated_images': len(image_hashes) - len(np.unique(image_hashes)),
            'captions_with_invalid_utf8': sum(f.num_replaced for f in self._findings),
            'captions_without_nouns': int((counts == 0).sum()),
            f'captions_with_fewer_than_{self.num_nouns}_nouns': int(
                (counts < self.num_nouns).sum()
            ),
            'noun_cache': dict(cache),
            'statistics': {
                'image width': _quantiles(sizes[:, 0]),
                'image height': _quantiles(sizes[:, 1]),
                'caption characters': _quantiles(lengths[:, 0]),
                'caption words': _quantiles(lengths[:, 1]),
                'nouns per caption': _quantiles(counts),
            },
            'distinct_nouns': len(self.nouns),
            'most_frequent_nouns': dict(_most_common(self.nouns, num_top)),
        }


def _most_common(nouns: Counter, number: int) -> list[tuple[str, int]]:
    """By number, then by name, so that the order does not depend on that of the shards."""
    return sorted(nouns.items(), key=lambda item: (-item[1], item[0]))[:number]


def _quantiles(values: np.ndarray) -> dict:
    if not values.size:
        return {}
    results = np.percentile(values, list(_QUANTILES.values())).tolist()
    return dict(zip(_QUANTILES, results, strict=True)) | {'mean': float(values.mean())}


def report_page(summary: dict, picture: str | None = None) -> str:
    """A summary as a markdown page.

    Args:
        summary: of :meth:`ShardReport.summary`.
        picture: file name of the picture of the nouns.
    """
    lines = ['# Check of shards']
    counts = [[key.replace('_', ' '), value] for key, value in summary.items() if _is_count(value)]
    counts += [[f'noun cache: {state}', value] for state, value in summary['noun_cache'].items()]
    lines += _table(['', ''], counts)
    lines += ['', '## Problems']
    allowed = summary['allowed']
    problems = [
        [reason, number, 'no' if reason in allowed else 'yes']
        for reason, number in summary['problems'].items()
    ]
    lines += _table(['reason', 'number', 'counts as broken'], problems)
    columns = [*_QUANTILES, 'mean']
    sizes = [
        [name, *(f'{values[column]:,.1f}' if values else '' for column in columns)]
        for name, values in summary['statistics'].items()
    ]
    lines += ['', '## Sizes', *_table(['', *columns], sizes)]
    lines += ['', '## Most frequent nouns']
    lines += _table(['noun', 'captions'], summary['most_frequent_nouns'].items())
    if picture:
        lines += ['', f'![Most frequent nouns]({picture})']
    return '\n'.join(lines) + '\n'


def _is_count(value: object) -> bool:
    return isinstance(value, int)


def _table(header: Sequence[str], rows: Iterable[Sequence]) -> list[str]:
    lines = ['', f'| {" | ".join(header)} |', '| --- |' + ' ---: |' * (len(header) - 1)]
    for row in rows:
        cells = [f'{cell:,}' if _is_count(cell) else cell.replace('|', '&#124;') for cell in row]
        lines.append(f'| {" | ".join(cells)} |')
    return lines
