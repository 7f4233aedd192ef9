"""How far each loader worker is in a stream: memory that all workers of a process share."""

import torch

from code_mm.datasets.shards.shard_schedule import Position

from .worker_status import MAX_WORKERS, rows_of, worker_row

_NONE = -1


class StreamProgress:
    """Positions of each worker in each source: where it is, and where it shall begin.

    Args:
        num_sources: sources of the stream.
    """

    def __init__(self, num_sources: int) -> None:
        shape = (MAX_WORKERS, num_sources, 2)
        self._now = torch.full(shape, _NONE, dtype=torch.int64).share_memory_()
        self._begin = torch.full(shape, _NONE, dtype=torch.int64).share_memory_()
        # for how many workers the positions hold: with another number the shards are dealt anew
        self._num_workers = torch.zeros(MAX_WORKERS, dtype=torch.int64).share_memory_()

    def resume_at(self, positions: list[list[Position]], num_workers: int) -> None:
        """Have the next iterations begin there.

        Args:
            positions: (workers, sources), one row also without workers.
            num_workers: of the loader.
        """
        self._now.fill_(_NONE)
        self._begin.fill_(_NONE)
        begin = torch.tensor(positions, dtype=torch.int64)
        self._begin[rows_of(num_workers)] = begin

    def begin(self, num_workers: int) -> list[Position]:
        """Where this worker begins now: where it was told, or a pass after the one it left.

        All workers of one iteration over a loader begin in the same pass.
        """
        row = worker_row()
        if self._num_workers[row] != num_workers:
            self._now[row] = _NONE
            self._num_workers[row] = num_workers
        begin, now = self._begin[row].clone(), self._now[row].clone()
        self._begin[row] = _NONE
        positions = []
        for (told_pass, told_opened), (passes, opened) in zip(
            begin.tolist(), now.tolist(), strict=True
        ):
            if told_pass != _NONE:
                positions.append(Position(told_pass, told_opened))
            elif passes != _NONE:
                positions.append(Position(passes + (opened > 0), 0))
            else:
                positions.append(Position())
        for source, position in enumerate(positions):
            self.move(source, position)
        return positions

    def move(self, source: int, position: Position) -> None:
        """This worker is at ``position`` now."""
        self._now.numpy()[worker_row(), source] = position

    def positions(self, num_workers: int) -> torch.Tensor:
        """(workers, sources, 2) passes and opened parts; where nothing was read yet, the start."""
        rows = rows_of(num_workers)
        now, begin = self._now[rows], self._begin[rows]
        return torch.where(now == _NONE, begin, now).clamp(min=0)
