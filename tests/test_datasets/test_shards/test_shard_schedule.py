from collections import Counter

import pytest

from code_mm.datasets.shards.shard_schedule import (
    Part,
    Position,
    Reader,
    parts_of_pass,
    positions_after,
)


def readers_of(processes, workers):
    places = [(rank, worker) for rank in range(processes) for worker in range(workers)]
    return [Reader.of(rank, processes, worker, workers) for rank, worker in places]


@pytest.mark.parametrize('num_shards', [1, 3, 7, 8, 9, 40])
@pytest.mark.parametrize(('processes', 'workers'), [(1, 1), (2, 2), (3, 4), (64, 4)])
def test_every_sample_once_whatever_the_numbers(num_shards, processes, workers):
    readers, seen, counts = readers_of(processes, workers), Counter(), []
    assert sorted(reader.index for reader in readers) == list(range(processes * workers))
    for reader in readers:
        parts = parts_of_pass(num_shards, reader, 'seed')
        counts.append(len(parts))
        for part in parts:
            seen.update((part.shard, i) for i in range(part.part, 300, part.parts))
    assert seen == {(s, i): 1 for s in range(num_shards) for i in range(300)}
    assert min(counts) > 0  # nobody starves
    if num_shards >= len(readers):  # whole shards, dealt as evenly as they can be
        assert max(counts) - min(counts) <= 1


def test_what_is_left_over_goes_to_different_processes():
    loads = Counter()
    for rank in range(4):
        for worker in range(4):
            loads[rank] += len(parts_of_pass(20, Reader.of(rank, 4, worker, 4), None))
    assert set(loads.values()) == {5}


def test_order_follows_from_the_seed():
    def order(seed):
        return [part.shard for part in parts_of_pass(50, Reader(), seed)]

    assert order(None) == list(range(50))
    assert order('0 0 1') == order('0 0 1') != order('0 0 2')
    assert parts_of_pass(3, Reader(5, 8), None, whole_pass=True) == [Part(0), Part(1), Part(2)]


def test_positions_are_taken_over_by_as_many_readers():
    old = [[[[1, 2], [0, 3]], [[1, 1], [0, 4]]], [[[1, 0], [0, 5]], [[2, 0], [0, 6]]]]
    assert positions_after(old, [8, 40], 1, 2, 2) == [
        [Position(1, 0), Position(0, 5)],
        [Position(2, 0), Position(0, 6)],
    ]


def test_positions_are_averaged_for_other_readers():
    # 40 shards and 4 old readers with 10 each: 5, 5, 5 and 9 of them in pass 3
    old = [[[[3, 5]], [[3, 5]]], [[[3, 5]], [[3, 9]]]]
    for processes, workers in ((1, 1), (1, 2), (4, 2)):
        share = 40 / (processes * workers)
        for rank in range(processes):
            found = positions_after(old, [40], rank, processes, workers)
            assert found == [[Position(3, round(0.6 * share))]] * workers
