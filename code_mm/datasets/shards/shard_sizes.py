"""How many samples are in a shard, without reading it?"""

import json
import os
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from .shard_index import ShardLayout
from .shard_index_cache import load_kept
from .shard_urls import is_url


def count_samples(
    shards: Sequence[str], layout: ShardLayout, index_dir: str | None = None
) -> int | None:
    """Samples of all shards, from what lies beside them; None where one cannot be counted.

    Looked at, in this order: the index that ``CaptionShardsDataset`` keeps in
    ``index_dir``, img2dataset's ``00000_stats.json`` ('successes'), the rows of its
    ``00000.parquet`` whose status is 'success'. Never assumed: a shard without any
    of them makes the number unknown.

    Args:
        shards: local paths and URLs.
        layout: which members are images, captions and json.
        index_dir: folder of kept indices.
    """
    total = 0
    for shard in shards:
        size = None if is_url(shard) else _count(shard, layout, index_dir)
        if size is None:
            return None
        total += size
    return total


def _count(shard: str, layout: ShardLayout, index_dir: str | None) -> int | None:
    if index_dir is not None and (index := load_kept(shard, layout, index_dir)) is not None:
        return len(index.keys)
    stem = os.path.splitext(shard)[0]
    try:
        with open(f'{stem}_stats.json', encoding='utf-8') as file:
            return int(json.load(file)['successes'])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or of another tool
    try:
        status = pq.read_table(f'{stem}.parquet', columns=['status'])['status']
        return sum(value == 'success' for value in status.to_pylist())
    except (OSError, KeyError, pa.ArrowException):
        return None
