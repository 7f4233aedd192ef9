import multiprocessing
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


def test_a_fork_does_not_move_the_place_of_the_other(files):
    reader = ShardReader()
    assert reader.read(files[0], 0, 5) == bytes(range(5))  # the file is open
    process = multiprocessing.get_context('fork').Process(
        target=reader.read, args=(files[0], 9, 50)
    )
    process.start()
    process.join()
    assert reader.read(files[0], 5, 5) == bytes(range(5, 10))
    assert os.lseek(reader._files[files[0]].fileno(), 0, os.SEEK_CUR) == 0  # nobody moved it


def test_gone_or_shortened_file(files):
    reader = ShardReader()
    with pytest.raises(UnusableSample, match=f'truncated_shard.*{files[0]}'):
        reader.read(files[0], 98, 5)
    os.remove(files[1])
    with pytest.raises(UnusableSample, match='missing_shard'):
        reader.read(files[1], 0, 5)
