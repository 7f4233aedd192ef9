import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from code_mm.datasets.shards.shard_index import ShardLayout
from code_mm.datasets.shards.shard_index_cache import index_shards
from code_mm.datasets.shards.shard_sizes import count_samples

LAYOUT = ShardLayout()


@pytest.fixture
def shards(write_pairs):
    return [write_pairs(f'{n:05d}.tar', ['a dog', 'a cat', 'a car'][: n + 1]) for n in range(3)]


def test_nothing_is_assumed(shards, tmp_path):
    assert count_samples(shards, LAYOUT) is None
    for number, shard in enumerate(shards):
        assert count_samples([shard], LAYOUT) is None
        stats = tmp_path / f'{number:05d}_stats.json'
        stats.write_text(json.dumps(dict(count=9, successes=number + 1)))
        assert count_samples([shard], LAYOUT) == number + 1
    assert count_samples(shards, LAYOUT) == 6
    stats.write_text('{"suc')  # of a killed img2dataset
    assert count_samples(shards, LAYOUT) is None


def test_urls_have_no_size(shards):
    assert count_samples(['http://h/0.tar'], LAYOUT) is None


def test_parquet_rows_that_succeeded(shards, tmp_path):
    for number in range(3):
        status = ['success'] * (number + 1) + ['failed_to_download']
        table = pa.table(dict(key=[str(i) for i in range(number + 2)], status=status))
        pq.write_table(table, tmp_path / f'{number:05d}.parquet')
    assert count_samples(shards, LAYOUT) == 6
    pq.write_table(table.drop_columns('status'), tmp_path / '00001.parquet')
    assert count_samples(shards, LAYOUT) is None


def test_kept_index_of_the_map_style_dataset(shards, tmp_path):
    folder = str(tmp_path / 'index')
    index_shards(shards, LAYOUT, folder)
    assert count_samples(shards, LAYOUT, folder) == 6
    other = LAYOUT._replace(caption='caption')
    assert count_samples(shards, other, folder) is None  # made for other members
