"""What is each loader worker doing just now? Memory that all workers of a process share."""

import os
import time

import torch
from torch.utils.data import get_worker_info

MAX_WORKERS = 256
_TEXT = 240  # bytes


def worker_row() -> int:
    """The row of this worker in memory that has one row per worker; 0 is the main process.

    Raises:
        ValueError: there are more workers than rows.
    """
    info = get_worker_info()
    row = 0 if info is None else info.id + 1
    if row >= MAX_WORKERS:
        raise ValueError(f'expected fewer than {MAX_WORKERS} loader workers, but got {row}')
    return row


def rows_of(num_workers: int) -> slice:
    """The rows of those who load: the workers, or the main process where there are none."""
    return slice(1, num_workers + 1) if num_workers else slice(0, 1)


class WorkerStatus:
    """One line per loader worker, which the process it works for can read at any time.

    A worker writes only its own line, so nothing needs a lock, and the line outlives a
    worker that was killed.
    """

    def __init__(self) -> None:
        self._texts = torch.zeros(MAX_WORKERS, _TEXT, dtype=torch.uint8).share_memory_()
        # process id, time of the line
        self._stamps = torch.zeros(MAX_WORKERS, 2, dtype=torch.float64).share_memory_()

    def set(self, text: str) -> None:
        """Write what this worker begins to do."""
        row = worker_row()
        data = text.encode('utf-8', 'replace')[:_TEXT]
        line = self._texts.numpy()[row]
        line[: len(data)] = memoryview(data)
        line[len(data) :] = 0
        self._stamps.numpy()[row] = os.getpid(), time.time()

    def lines(self) -> list[str]:
        """For each worker that has begun: its number and process, what it does, since when."""
        now = time.time()
        lines = []
        for row, (pid, since) in enumerate(self._stamps.tolist()):
            if pid:
                text = bytes(self._texts[row].tolist()).rstrip(b'\0').decode('utf-8', 'replace')
                who = f'worker {row - 1}' if row else 'main process'
                lines.append(f'{who} (process {int(pid)}): {text}, for {now - since:.0f} s')
        return lines
