from collections import Counter

import pytest

from code_mm.datasets.shards.shard_schedule import parts_of_pass


@pytest.mark.parametrize('num_shards', [1, 7, 8, 40])
@pytest.mark.parametrize('readers', [1, 4, 12, 256])
def test_every_sample_once_whatever_the_numbers(num_shards, readers):
    dealt = [parts_of_pass(num_shards, reader, readers, 'seed') for reader in range(readers)]
    parts = [part for mine in dealt for part in mine]
    seen = Counter((part.shard, i) for part in parts for i in range(part.part, 300, part.parts))
    assert seen == {(s, i): 1 for s in range(num_shards) for i in range(300)}
    counts = list(map(len, dealt))
    assert min(counts) > 0  # nobody starves
    if num_shards >= readers:  # whole shards, dealt as evenly as they can be
        assert max(counts) - min(counts) <= 1


def test_order_follows_from_the_seed():
    def order(seed):
        return [part.shard for part in parts_of_pass(50, 0, 1, seed)]

    assert sorted(order('0 0 1')) == list(range(50))
    assert order('0 0 1') == order('0 0 1') != order('0 0 2')
