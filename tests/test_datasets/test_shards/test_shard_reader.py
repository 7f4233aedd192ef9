import os
import pickle

import pytest

from code_mm.datasets.shards.shard_reader import ShardReader
from code_mm.structures.unusable_sample import UnusableSample


@pytest.fixture
def files(tmp_path):
    paths = []
    for number in range(5):
        path = tmp_path / f'{number}.tar'
        path.write_bytes(bytes(range(number, number + 100)))
        paths.append(str(path))
    return paths


def test_reads_ranges_of_more_files_than_it_keeps_open(files):
    reader = ShardReader(max_open=2)
    for offset in (0, 7, 95):
        for number, path in enumerate(files):
            expected = bytes(range(number + offset, number + offset + 5))
            assert reader.read(path, offset, 5) == expected
            assert len(reader._files) <= 2


def test_gone_or_shortened_file(files):
    reader = ShardReader()
    with pytest.raises(UnusableSample, match='truncated_shard') as error:
        reader.read(files[0], 98, 5)
    assert files[0] in str(error.value)
    os.remove(files[1])
    with pytest.raises(UnusableSample, match='missing_shard'):
        reader.read(files[1], 0, 5)


def test_copies_open_their_own_files(files):
    reader = ShardReader(max_open=3)
    reader.read(files[0], 0, 1)
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.max_open == 3
    assert not copy._files
    assert copy.read(files[0], 1, 2) == bytes([1, 2])


def test_a_forked_process_does_not_share_the_position(files):
    reader = ShardReader()
    reader.read(files[0], 0, 1)
    handle = reader._files[files[0]]
    pid = os.fork()
    if pid == 0:  # the child: 0 where it opened a file of its own
        reader.read(files[0], 50, 5)
        os._exit(int(reader._files[files[0]] is handle))
    assert os.waitpid(pid, 0)[1] == 0
    assert handle.tell() != 55
