import os
import pickle

import pytest

from code_mm.datasets.shards import shard_reader
from code_mm.datasets.shards.shard_reader import ShardReader
from code_mm.structures.unusable_sample import UnusableSample


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f'{number}.tar' for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(range(number, number + 100)))
    return list(map(str, paths))


def test_reads_ranges_of_more_files_than_it_keeps_open(files, monkeypatch):
    monkeypatch.setattr(shard_reader, '_MAX_OPEN', 2)
    reader = ShardReader()
    for offset in (0, 7, 95):
        for number, path in enumerate(files):
            expected = bytes(range(number + offset, number + offset + 5))
            assert reader.read(path, offset, 5) == expected
            assert len(reader._files) <= 2
    assert pickle.loads(pickle.dumps(reader)).read(files[0], 1, 2) == bytes([1, 2])


def test_gone_or_shortened_file(files):
    reader = ShardReader()
    with pytest.raises(UnusableSample, match=f'truncated_shard.*{files[0]}'):
        reader.read(files[0], 98, 5)
    os.remove(files[1])
    with pytest.raises(UnusableSample, match='missing_shard'):
        reader.read(files[1], 0, 5)
