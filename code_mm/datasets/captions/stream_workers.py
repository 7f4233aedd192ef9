"""What each loader worker is doing, and how far it is: memory that all of a process share."""

import os
import time

import numpy as np
import torch
from torch import Tensor

from code_mm.datasets.sample_ledger import MAX_WORKERS, worker_row

_STATUS = np.dtype([('process', 'i8'), ('since', 'f8'), ('text', 'S240')])


class StreamWorkers:
    """One row per loader worker, which the process it works for can read at any time.

    A worker writes only its own row, which needs no lock and outlives a worker that was killed. How
    far it is with a source is counted in passes over its share: 2.5 when half of the third is open.
    """

    def __init__(self, num_sources: int) -> None:
        status = torch.zeros(MAX_WORKERS, _STATUS.itemsize, dtype=torch.uint8)
        passes = torch.zeros(MAX_WORKERS, num_sources, dtype=torch.float64)
        # for how many workers the passes hold: with another number the shards are dealt anew
        num_workers = torch.zeros(MAX_WORKERS, dtype=torch.int64)
        resumed = torch.zeros(MAX_WORKERS, dtype=torch.bool)
        self._status, self._passes = status.share_memory_(), passes.share_memory_()
        self._num_workers, self._resumed = num_workers.share_memory_(), resumed.share_memory_()

    def note(self, text: str) -> None:
        """Write what this worker begins to do."""
        row = os.getpid(), time.time(), text.encode('utf-8', 'replace')
        self._status.numpy().view(_STATUS)[worker_row(), 0] = row

    def lines(self) -> list[str]:
        """For each worker that has begun: its number and process, what it does, since when."""
        lines = []
        for row, (process, since, text) in enumerate(self._status.numpy().view(_STATUS)[:, 0]):
            if process:
                who = f'worker {row - 1}' if row else 'main process'
                doing = f'{text.decode("utf-8", "replace")}, for {time.time() - since:.0f} s'
                lines.append(f'{who} (process {process}): {doing}')
        return lines

    def resume_at(self, passes: Tensor, num_workers: int) -> None:
        """Have the next iterations begin there: (workers, sources), or (sources,) for all."""
        rows = _rows_of(num_workers)
        self._passes[rows] = passes
        self._num_workers[rows], self._resumed[rows] = max(1, num_workers), True

    def begin(self, num_workers: int) -> list[float]:
        """Where this one of the workers begins: where it was told, or a pass after the one it left.

        All workers of one iteration over a loader begin in the same pass.
        """
        row = worker_row()
        if self._num_workers[row] != num_workers:
            self._passes[row] = 0
        elif not self._resumed[row]:
            self._passes[row].ceil_()
        self._num_workers[row], self._resumed[row] = num_workers, False
        return self._passes[row].tolist()

    def move(self, source: int, passes: float) -> None:
        """This worker is that far with a source now."""
        self._passes.numpy()[worker_row(), source] = passes

    def passes(self, num_workers: int) -> Tensor:
        """How far those who load are: (workers, sources), one row without workers."""
        return self._passes[_rows_of(num_workers)].clone()


def _rows_of(num_workers: int) -> slice:
    """Of those who load: the workers, or the main process where there are none."""
    return slice(1, num_workers + 1) if num_workers else slice(0, 1)
