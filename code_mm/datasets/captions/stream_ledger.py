"""Book-keeping of a stream, whose samples have no numbers and are not known beforehand."""

import logging
from collections.abc import Sequence

import torch
from mmengine.logging import print_log

from code_mm.datasets.sample_ledger import Ledger, Skip
from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample

from .worker_status import MAX_WORKERS, worker_row

_USED, _SHARDS, _FAILED_SHARDS = range(3)
_FIRST_REASON = 3  # column of UNUSABLE_REASONS[0]
_DAMAGE = ('missing_shard', 'unreadable_shard', 'truncated_shard', 'corrupt_header')
# Visits of all workers of a process before a large share of unusable ones is an error. More than
# for random access, as a stream may begin in a bad shard.
_MIN_VISITS = 1000
_MIN_SHARDS = 20


class StreamLedger(Ledger):
    """Counts of one process, in memory that all its loader workers share.

    Each worker adds to its own row, so nothing needs a lock. A sample that is met in
    several passes counts each time.

    Args:
        name: how log lines name the dataset.
        index_skips: shards that were missing at the start.
        **limits: of ``Ledger``; the share is that of all
            workers of this process, after 1000 samples, and likewise of the shards, after 20.
    """

    _used_ones = 'samples'

    def __init__(self, name: str, index_skips: Sequence[Skip] = (), **limits) -> None:
        super().__init__(name, index_skips, **limits)
        columns = _FIRST_REASON + len(UNUSABLE_REASONS)
        self._rows = torch.zeros(MAX_WORKERS, columns, dtype=torch.int64).share_memory_()

    def use(self) -> None:
        """Note a sample that came through the pipeline."""
        self._add(_USED)
        self._count_visit()

    def skip(self, key: str, problem: UnusableSample) -> None:
        """Note an unusable sample; warn, or stop where too many are.

        Raises:
            RuntimeError: more than ``max_bad_fraction`` of the samples are unusable.
        """
        self._add(_FIRST_REASON + UNUSABLE_REASONS.index(problem.reason))
        self._count_visit()
        self._warn(key, problem)
        totals = self.totals()
        bad = sum(
            count
            for reason, count in zip(UNUSABLE_REASONS, totals[_FIRST_REASON:], strict=True)
            if reason not in _DAMAGE
        )
        visits = bad + totals[_USED]
        if visits >= _MIN_VISITS:
            self._check_share(bad, visits, key, problem)

    def open_shard(self) -> None:
        """Note that a shard is going to be read."""
        self._add(_SHARDS)

    def damage(self, key: str, problem: UnusableSample) -> None:
        """Note a fault that is none of a single sample: part of a shard, a second member."""
        self._add(_FIRST_REASON + UNUSABLE_REASONS.index(problem.reason))
        self._warn(key, problem)

    def lose_shard(self, shard: str, problem: UnusableSample, count: bool = True) -> None:
        """Note a shard that cannot be read, or not to its end; stop where too many cannot.

        Args:
            shard: its name.
            problem: why.
            count: False: only warn, as another worker counts the same shard.

        Raises:
            RuntimeError: more than ``max_bad_fraction`` of the shards cannot be read.
        """
        self._add(_FAILED_SHARDS)
        if count:
            self.damage(shard, problem)
        else:
            self._warn(shard, problem)
        totals = self.totals()
        if totals[_SHARDS] >= _MIN_SHARDS:
            self._check_share(totals[_FAILED_SHARDS], totals[_SHARDS], shard, problem, 'shards')

    def _add(self, column: int) -> None:
        self._rows.numpy()[worker_row(), column] += 1

    def totals(self) -> list[int]:
        """Samples used, shards opened, shards failed, then one number per reason."""
        return self._rows.sum(0).tolist()

    @property
    def num_used(self) -> int:
        """Samples that came through the pipeline, in all workers of this process."""
        return self.totals()[_USED]

    def counts(self) -> dict[str, int]:
        """Number of left-out items by reason, in all workers of this process."""
        return self._totals(self.totals()[_FIRST_REASON:])

    def log_totals(self, totals: Sequence[int], num_processes: int) -> None:
        """One log line of the counts of all processes.

        Args:
            totals: sum of :meth:`totals` over the processes.
            num_processes: how many.
        """
        counts = self._totals(totals[_FIRST_REASON:])
        print_log(
            f'{self.name}: {totals[_USED]} samples used and {totals[_SHARDS]} shards opened by '
            f'{num_processes} process(es)' + (f'; left out so far: {counts}' if counts else ''),
            logger='current',
            level=logging.INFO,
        )
