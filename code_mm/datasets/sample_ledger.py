"""Book-keeping of a caption dataset: what was used, what was left out, and why."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.logging import print_log

from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample

_NOT_VISITED = 0
_USED = 1
_FIRST_REASON = 2  # code of UNUSABLE_REASONS[0]

# Visits of one process before a large share of unusable samples is an error.
_MIN_VISITS = 200
_KEYS_PER_LINE = 10
# Visits of one process before its first line of counts; ten times as many to the next.
_FIRST_REPORT = 1000


class Skip(NamedTuple):
    """Something that was left out already while the index was built."""

    reason: str
    key: str
    detail: str = ''


class Ledger:
    """What every ledger does: warn of single samples, report counts, stop where too much is bad.

    Subclasses keep the counts: ``counts``, ``num_used``.

    Args:
        name: how log lines name the dataset.
        index_skips: what the index left out.
        max_bad_fraction: share of unusable samples, in (0, 1], above which data loading
            stops with an error.
        max_warnings: warnings about single samples per process; further ones are
            only counted.
    """

    _used_ones = 'different ones'

    def __init__(
        self,
        name: str,
        index_skips: Sequence[Skip] = (),
        max_bad_fraction: float = 0.5,
        max_warnings: int = 20,
    ) -> None:
        if not 0 < max_bad_fraction <= 1:
            raise ValueError(f'expected max_bad_fraction in (0, 1], but got {max_bad_fraction}')
        self.name = name
        self.index_skips = list(index_skips)
        self.max_bad_fraction = max_bad_fraction
        self.max_warnings = max_warnings
        self._visits = 0
        self._warnings = 0
        self._next_report = _FIRST_REPORT

    def counts(self) -> dict[str, int]:
        """Number of left-out items by reason, index and all workers together."""
        raise NotImplementedError

    @property
    def num_used(self) -> int:
        """Samples that came through the pipeline, in all workers."""
        raise NotImplementedError

    def _warn(self, key: str, problem: UnusableSample) -> None:
        if self._warnings >= self.max_warnings:
            return
        self._warnings += 1
        last = self._warnings == self.max_warnings
        print_log(
            f'{self.name}: left out {key}: {problem}'
            + ('; further ones of this process are only counted' if last else ''),
            logger='current',
            level=logging.WARNING,
        )

    def _check_share(
        self, bad: int, visits: int, key: str, problem: UnusableSample, items: str = 'samples'
    ) -> None:
        if bad > self.max_bad_fraction * visits:
            raise RuntimeError(
                f'{self.name}: {bad} of {visits} {items} were unusable, more '
                f'than max_bad_fraction={self.max_bad_fraction}; the last one was {key}: '
                f'{problem}. So far: {self.counts()}. Mend the data or raise max_bad_fraction'
            )

    def _count_visit(self) -> None:
        self._visits += 1
        if self._visits < self._next_report:
            return
        self._next_report *= 10
        if counts := self.counts():
            print_log(
                f'{self.name}: {self._visits} samples read by this process, {self.num_used} '
                f'{self._used_ones} used by all; left out so far: {counts}',
                logger='current',
            )

    def _totals(self, codes: Sequence[int]) -> dict[str, int]:
        """Counts in the order of UNUSABLE_REASONS and those of the index, by reason, no zeros."""
        counts = dict(zip(UNUSABLE_REASONS, codes, strict=False))
        for skip in self.index_skips:
            counts[skip.reason] = counts.get(skip.reason, 0) + 1
        return {reason: counts[reason] for reason in UNUSABLE_REASONS if counts.get(reason)}

    def log_index_summary(self, size: str) -> None:
        """One log line: size of the dataset, and by reason what the index left out."""
        keys: dict[str, list[str]] = {}
        for skip in self.index_skips:
            keys.setdefault(skip.reason, []).append(
                f'{skip.key} ({skip.detail})' if skip.detail else skip.key
            )
        parts = [
            f'{len(names)} {reason}: {", ".join(names[:_KEYS_PER_LINE])}'
            + (', …' if len(names) > _KEYS_PER_LINE else '')
            for reason, names in keys.items()
        ]
        print_log(
            f'{self.name}: {size}'
            + (f'; left out {len(self.index_skips)}: {"; ".join(parts)}' if parts else ''),
            logger='current',
            level=logging.WARNING if parts else logging.INFO,
        )


class SampleLedger(Ledger):
    """One byte per sample, in memory that all loader workers share.

    A worker writes the verdict on a sample into that sample's own byte, so
    nothing needs a lock and a sample met twice counts once.

    Args:
        name: how log lines name the dataset.
        num_samples: samples of the dataset.
        index_skips: what the index left out.
        **limits: of :class:`Ledger`; the share is that of one process, after 200 samples.
    """

    def __init__(
        self, name: str, num_samples: int, index_skips: Sequence[Skip] = (), **limits
    ) -> None:
        super().__init__(name, index_skips, **limits)
        self._states = torch.zeros(num_samples, dtype=torch.uint8).share_memory_()
        self._bad_visits = 0

    def use(self, index: int) -> None:
        """Note that sample ``index`` came through the pipeline."""
        self._states.numpy()[index] = _USED  # a tensor takes ten times as long
        self._count_visit()

    def skip(self, index: int, key: str, problem: UnusableSample) -> None:
        """Note that sample ``index`` is unusable; warn, or stop where too many are.

        Raises:
            RuntimeError: more than ``max_bad_fraction`` of the samples are unusable.
        """
        code = _FIRST_REASON + UNUSABLE_REASONS.index(problem.reason)
        known = int(self._states[index]) == code
        self._states[index] = code
        self._count_visit()
        self._bad_visits += 1
        if not known:
            self._warn(key, problem)
        if self._visits >= _MIN_VISITS:
            self._check_share(self._bad_visits, self._visits, key, problem)

    @property
    def num_used(self) -> int:
        """Distinct samples that came through the pipeline, in all workers."""
        return int((self._states == _USED).sum())

    def counts(self) -> dict[str, int]:
        """Number of left-out items by reason, index and all workers together."""
        codes = torch.bincount(self._states, minlength=_FIRST_REASON)[_FIRST_REASON:]
        return self._totals(codes.tolist())

    def skipped_indices(self, reason: str) -> list[int]:
        """Samples that turned out unusable for this reason when they were read."""
        code = _FIRST_REASON + UNUSABLE_REASONS.index(reason)
        return (self._states == code).nonzero().flatten().tolist()

    def log_index_summary(self, size: str | None = None) -> None:
        """One log line: size of the dataset, and by reason what the index left out."""
        super().log_index_summary(size or f'{len(self._states)} image-caption pairs')
