from collections import Counter

import pytest

from code_mm.datasets.shards.shard_schedule import (
    Part,
    Position,
    Reader,
    parts_of_pass,
    positions_after,
)


@pytest.mark.parametrize('num_shards', [1, 7, 8, 40])
@pytest.mark.parametrize(('processes', 'workers'), [(1, 1), (2, 2), (3, 4), (64, 4)])
def test_every_sample_once_whatever_the_numbers(num_shards, processes, workers):
    seen, loads, counts = Counter(), Counter(), []
    for rank in range(processes):
        for worker in range(workers):
            reader = Reader.of(rank, processes, worker, workers)
            parts = parts_of_pass(num_shards, reader, 'seed')
            counts.append(len(parts))
            loads[rank] += len(parts)
            for part in parts:
                seen.update((part.shard, i) for i in range(part.part, 300, part.parts))
    assert seen == {(s, i): 1 for s in range(num_shards) for i in range(300)}
    assert min(counts) > 0  # nobody starves
    if num_shards >= len(counts):  # whole shards, dealt as evenly as they can be
        assert max(counts) - min(counts) <= 1
        assert max(loads.values()) - min(loads.values()) <= 1  # to the processes, too


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
