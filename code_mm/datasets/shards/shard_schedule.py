"""Which parts of which shards a loader worker reads, pass by pass."""

import random
from typing import NamedTuple


class Part(NamedTuple):
    """Every ``parts``-th sample of a shard (its number in the list), from sample ``part`` on."""

    shard: int
    part: int = 0
    parts: int = 1


def parts_of_pass(num_shards: int, reader: int, num_readers: int, seed: str) -> list[Part]:
    """What one reader, a worker of any process, reads in one pass; over all every sample once.

    With fewer shards than readers, several read the same shard and each keeps every k-th sample.
    The seed, of the order of the shards, is the same for all readers.
    """
    order = list(range(num_shards))
    random.Random(seed).shuffle(order)
    parts = -(-num_readers // num_shards)
    dealt = [Part(shard, part, parts) for part in range(parts) for shard in order]
    return dealt[reader::num_readers]
