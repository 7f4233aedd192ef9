"""What each loader worker is doing, and how far it is: memory that all of a process share.

A worker writes only its own row, so nothing needs a lock, and the row outlives a worker that was
killed.
"""

import os
import time

import torch

from code_mm.datasets.sample_ledger import MAX_WORKERS, worker_row
from code_mm.datasets.shards.shard_schedule import Position

_TEXT = 240  # bytes
_NONE = -1


class WorkerStatus:
    """One line per loader worker, which the process it works for can read at any time."""

    def __init__(self) -> None:
        self._texts = torch.zeros(MAX_WORKERS, _TEXT, dtype=torch.uint8).share_memory_()
        # process id, time of the line
        self._stamps = torch.zeros(MAX_WORKERS, 2, dtype=torch.float64).share_memory_()

    def set(self, text: str) -> None:
        """Write what this worker begins to do."""
        row = worker_row()
        data = text.encode('utf-8', 'replace')[:_TEXT]
        self._texts.numpy()[row] = bytearray(data.ljust(_TEXT, b'\0'))
        self._stamps.numpy()[row] = os.getpid(), time.time()

    def lines(self) -> list[str]:
        """For each worker that has begun: its number and process, what it does, since when."""
        lines = []
        for row, (pid, since) in enumerate(self._stamps.tolist()):
            if pid:
                text = bytes(self._texts[row].tolist()).rstrip(b'\0').decode('utf-8', 'replace')
                who = f'worker {row - 1}' if row else 'main process'
                lines.append(f'{who} (process {int(pid)}): {text}, for {time.time() - since:.0f} s')
        return lines


class StreamProgress:
    """Positions of each worker in each source: where it is, and where it shall begin."""

    def __init__(self, num_sources: int) -> None:
        shape = (MAX_WORKERS, num_sources, 2)
        self._now = torch.full(shape, _NONE, dtype=torch.int64).share_memory_()
        self._begin = torch.full(shape, _NONE, dtype=torch.int64).share_memory_()
        # for how many workers the positions hold: with another number the shards are dealt anew
        self._num_workers = torch.zeros(MAX_WORKERS, dtype=torch.int64).share_memory_()

    def resume_at(self, positions: list[list[Position]], num_workers: int) -> None:
        """Have the next iterations begin there: (workers, sources), one row without workers."""
        self._now.fill_(_NONE)
        self._begin.fill_(_NONE)
        self._begin[_rows_of(num_workers)] = torch.tensor(positions, dtype=torch.int64)

    def begin(self, num_workers: int) -> list[Position]:
        """Where this worker begins now: where it was told, or a pass after the one it left.

        All workers of one iteration over a loader begin in the same pass.
        """
        row = worker_row()
        if self._num_workers[row] != num_workers:
            self._now[row] = _NONE
            self._num_workers[row] = num_workers
        told, now = self._begin[row].tolist(), self._now[row].tolist()
        self._begin[row] = _NONE
        positions = [
            Position(*begin) if begin[0] != _NONE else Position(max(0, passes + (opened > 0)), 0)
            for begin, (passes, opened) in zip(told, now, strict=True)
        ]
        for source, position in enumerate(positions):
            self.move(source, position)
        return positions

    def move(self, source: int, position: Position) -> None:
        """This worker is at ``position`` now."""
        self._now.numpy()[worker_row(), source] = position

    def positions(self, num_workers: int) -> torch.Tensor:
        """(workers, sources, 2) passes and opened parts; where nothing was read yet, the start."""
        rows = _rows_of(num_workers)
        now, begin = self._now[rows], self._begin[rows]
        return torch.where(now == _NONE, begin, now).clamp(min=0)


def _rows_of(num_workers: int) -> slice:
    """Of those who load: the workers, or the main process where there are none."""
    return slice(1, num_workers + 1) if num_workers else slice(0, 1)
