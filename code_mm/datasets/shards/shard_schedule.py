"""Which parts of which shards a loader worker reads, pass by pass."""

import random
from collections.abc import Sequence
from typing import NamedTuple


class Reader(NamedTuple):
    """One of the workers of all processes that share a stream: its number, and of how many."""

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, rank: int, world_size: int, worker: int, num_workers: int) -> 'Reader':
        """Processes come first, so that what is left over goes to different processes."""
        return cls(worker * world_size + rank, world_size * num_workers)


class Part(NamedTuple):
    """Every ``parts``-th sample of a shard (its number in the list), from sample ``part`` on."""

    shard: int
    part: int = 0
    parts: int = 1


def parts_of_pass(
    num_shards: int, reader: Reader, seed: str | None, whole_pass: bool = False
) -> list[Part]:
    """What one reader reads in one pass; over all readers every sample once.

    Whole shards are dealt where there are at least as many as readers. Otherwise every
    shard is read by several readers, each of which keeps every k-th sample. With ``whole_pass``
    this reader is given everything. The seed, of the order of the shards, is the same for all
    readers; None: as listed.
    """
    order = list(range(num_shards))
    if seed is not None:
        random.Random(seed).shuffle(order)
    if whole_pass:
        return [Part(shard) for shard in order]
    parts = -(-reader.count // num_shards)
    dealt = [Part(shard, part, parts) for part in range(parts) for shard in order]
    return dealt[reader.index :: reader.count]


class Position(NamedTuple):
    """How far a reader is with a source: finished passes, parts opened in the present one."""

    passes: int = 0
    opened: int = 0


def positions_after(
    old: Sequence[Sequence[Sequence[Sequence[int]]]],
    num_shards: Sequence[int],
    rank: int,
    world_size: int,
    num_workers: int,
) -> list[list[Position]]:
    """Where the workers of one process begin that go on with another run's stream.

    Exactly where the old ones were, if there are as many processes and workers. Otherwise
    each begins in the pass, and at the share of its own parts, that the old ones had
    reached on average.

    Args:
        old (Sequence): Positions of the old run, (processes, workers, sources, 2).
        num_shards (Sequence[int]): Of each source.
        rank (int): Of this process.
        world_size (int): Number of processes.
        num_workers (int): Of each process, at least 1.

    Returns:
        list[list[Position]]: (workers, sources).
    """
    if (len(old), len(old[0])) == (world_size, num_workers):
        return [[Position(*position) for position in worker] for worker in old[rank]]

    def num_parts(source: int, reader: Reader) -> int:
        return len(parts_of_pass(num_shards[source], reader, None))

    def average_passes(source: int) -> float:
        done = []
        for old_rank, process in enumerate(old):
            for worker, positions in enumerate(process):
                passes, opened = positions[source]
                parts = num_parts(source, Reader.of(old_rank, len(old), worker, len(process)))
                done.append(passes + min(1.0, opened / max(1, parts)))
        return sum(done) / len(done)

    progress = list(map(average_passes, range(len(num_shards))))
    readers = [Reader.of(rank, world_size, worker, num_workers) for worker in range(num_workers)]
    return [
        [
            Position(int(done), round(done % 1 * num_parts(source, reader)))
            for source, done in enumerate(progress)
        ]
        for reader in readers
    ]
