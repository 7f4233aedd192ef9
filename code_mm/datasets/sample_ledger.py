"""Book-keeping of caption datasets: what was used, what was left out, and why."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample

MAX_WORKERS = 256
# Columns of the counts, the reasons last. The verdict on a sample is its column, 0: not visited.
_USED, _UNUSABLE, _SHARDS, _LOST_SHARDS, _FIRST_REASON = 1, 2, 3, 4, 5
_COLUMNS = {reason: _FIRST_REASON + i for i, reason in enumerate(UNUSABLE_REASONS)}
# Visits of all workers of a process before a large share of unusable ones is an error; more for a
# stream, which may begin in a bad shard.
_MIN_VISITS, _MIN_STREAM_VISITS, _MIN_SHARDS = 200, 1000, 20
_KEYS_PER_LINE = 10
_FIRST_REPORT = 1000  # visits of a worker before its first line of counts; tenfold to the next


class Skip(NamedTuple):
    """Something that was left out already while the index was built."""

    reason: str
    key: str
    detail: str = ''
    count: int = 1  # of such things


def count_by_reason(skips: Iterable[Skip]) -> Counter:
    """How many things were left out for each reason."""
    counts = Counter()
    for skip in skips:
        counts[skip.reason] += skip.count
    return counts


def worker_row() -> int:
    """The row of this worker in memory that has one row per worker; 0 is the main process."""
    info = get_worker_info()
    row = 0 if info is None else info.id + 1
    if row >= MAX_WORKERS:
        raise ValueError(f'expected fewer than {MAX_WORKERS} loader workers, but got {row}')
    return row


class SampleLedger:
    """Counts what all loader workers of a process use and leave out, in memory they share.

    Each worker adds to its own row, so nothing needs a lock. Where the samples are numbered,
    the verdict on each is also kept: then a sample that is met twice counts once, and those left
    out can be named. In a stream it counts each time.

    Args:
        name (str): How log lines name the dataset.
        index_skips (Sequence[Skip]): What the index left out.
        num_samples (int, optional): Numbered samples; None: a stream.
        max_bad_fraction (float): Share of unusable samples, in (0, 1], above which data loading
            stops with an error (after 200 visits, 1000 of a stream), and of shards (after 20).
        max_warnings (int): Warnings about single samples per worker; others are only counted.
    """

    def __init__(
        self,
        name: str,
        index_skips: Sequence[Skip] = (),
        num_samples: int | None = None,
        max_bad_fraction: float = 0.5,
        max_warnings: int = 20,
    ) -> None:
        if not 0 < max_bad_fraction <= 1:
            raise ValueError(f'expected max_bad_fraction in (0, 1], but got {max_bad_fraction}')
        self.name, self.index_skips = name, list(index_skips)
        self.max_bad_fraction, self.max_warnings = max_bad_fraction, max_warnings
        shape = MAX_WORKERS, _FIRST_REASON + len(_COLUMNS)
        self._rows = torch.zeros(shape, dtype=torch.int64).share_memory_()
        self._verdicts = None
        if num_samples is not None:
            self._verdicts = torch.zeros(num_samples, dtype=torch.uint8).share_memory_()
        self._visits = self._warnings = 0  # of this worker
        self._next_report = _FIRST_REPORT

    def use(self, index: int | None = None) -> None:
        """Note a sample that came through the pipeline."""
        self._visit(_USED, index)

    def skip(self, key: str, problem: UnusableSample, index: int | None = None) -> None:
        """Note an unusable sample; warn, or raise RuntimeError where too many are."""
        column = _COLUMNS[problem.reason]
        known = index is not None and int(self._verdicts[index]) == column
        self._add(_UNUSABLE)
        self._visit(column, index)
        if not known:
            self._warn(key, problem)
        bad, used = self._rows[:, [_UNUSABLE, _USED]].sum(0).tolist()
        if bad + used >= (_MIN_STREAM_VISITS if self._verdicts is None else _MIN_VISITS):
            self._check_share(bad, bad + used, f'samples were unusable, the last {key}: {problem}')

    def open_shard(self) -> None:
        """Note that a shard is going to be read."""
        self._add(_SHARDS)

    def damage(
        self, key: str, problem: UnusableSample, lost: bool = False, count: bool = True
    ) -> None:
        """Note a fault that is none of a single sample: part of a shard, a second member.

        Args:
            key (str): Where it is.
            problem (UnusableSample): What it is.
            lost (bool): A shard cannot be read to its end; RuntimeError where too many cannot.
            count (bool): False: only warn, as another worker counts the same shard.
        """
        column = _COLUMNS[problem.reason]
        # the first tells enough of what may stand beside every pair
        if problem.reason != 'unused_member' or not self._rows[worker_row(), column]:
            self._warn(key, problem)
        if count:
            self._add(column)
        if lost:
            self._add(_LOST_SHARDS)
            bad, opened = self._rows[:, [_LOST_SHARDS, _SHARDS]].sum(0).tolist()
            if opened >= _MIN_SHARDS:
                self._check_share(bad, opened, f'shards were unusable, the last {key}: {problem}')

    def _add(self, column: int) -> None:
        self._rows.numpy()[worker_row(), column] += 1  # a tensor takes ten times as long

    def _visit(self, column: int, index: int | None) -> None:
        self._add(column)
        if index is not None:
            self._verdicts.numpy()[index] = column
        self._visits += 1
        if self._visits >= self._next_report:
            self._next_report *= 10
            if self.counts():
                self.log_totals(self.totals(), 1)

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

    def _check_share(self, bad: int, total: int, what: str) -> None:
        if bad > self.max_bad_fraction * total:
            raise RuntimeError(
                f'{self.name}: {bad} of {total} {what}. That is more than max_bad_fraction='
                f'{self.max_bad_fraction}. So far: {self.counts()}. Mend the data or raise '
                'max_bad_fraction'
            )

    def totals(self) -> list[int]:
        """Counts of all workers, to be added up over processes; see :meth:`log_totals`."""
        if self._verdicts is None:
            return self._rows.sum(0).tolist()
        return torch.bincount(self._verdicts, minlength=self._rows.shape[1]).tolist()

    @property
    def num_used(self) -> int:
        """Samples that came through the pipeline, in all workers of this process."""
        return self.totals()[_USED]

    @property
    def num_shards(self) -> int:
        """Shards that were opened to be read as a stream."""
        return int(self._rows[:, _SHARDS].sum())

    def counts(self, totals: Sequence[int] | None = None) -> dict[str, int]:
        """Number of left-out items by reason, index and all workers together, no zeros."""
        found = (self.totals() if totals is None else totals)[_FIRST_REASON:]
        counts = dict(zip(UNUSABLE_REASONS, found, strict=True))
        for reason, count in count_by_reason(self.index_skips).items():
            counts[reason] += count
        return {reason: count for reason, count in counts.items() if count}

    def skipped_indices(self, reason: str) -> list[int]:
        """Numbered samples that turned out unusable for this reason."""
        return (self._verdicts == _COLUMNS[reason]).nonzero().flatten().tolist()

    def log_index_summary(self, size: str) -> None:
        """One log line: size of the dataset, and by reason what the index left out."""
        keys: dict[str, list[str]] = {}
        counts = count_by_reason(self.index_skips)
        for skip in self.index_skips:
            named = f'{skip.key} ({skip.detail})' if skip.detail else skip.key
            keys.setdefault(skip.reason, []).append(named)
        text = f'{self.name}: {size}'
        if keys:
            text += f'; left out {sum(counts.values())}'
        for reason, names in keys.items():
            more = ', …' if len(names) > _KEYS_PER_LINE else ''
            text += f'; {counts[reason]} {reason}: {", ".join(names[:_KEYS_PER_LINE])}{more}'
        level = logging.WARNING if keys else logging.INFO
        print_log(text, logger='current', level=level)

    def log_totals(self, totals: Sequence[int], num_processes: int) -> None:
        """One log line of the counts of all processes, of whose :meth:`totals` this is the sum."""
        counts = self.counts(totals)
        shards = f' and {totals[_SHARDS]} shards opened' if totals[_SHARDS] else ''
        print_log(
            f'{self.name}: {totals[_USED]} samples used{shards} by {num_processes} process(es)'
            + (f'; left out so far: {counts}' if counts else ''),
            logger='current',
        )
