import pytest

from code_mm.datasets.shards import shard_index_cache
from code_mm.datasets.shards.shard_index import ShardLayout, scan_shard
from code_mm.datasets.shards.shard_index_cache import index_shards, load_or_scan

LAYOUT = ShardLayout()


@pytest.fixture
def scans(monkeypatch):
    """Paths that were really scanned."""
    paths = []

    def counting(path, layout):
        paths.append(path)
        return scan_shard(path, layout)

    monkeypatch.setattr(shard_index_cache, 'scan_shard', counting)
    return paths


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(shard_index_cache, 'print_log', lambda line, **_: lines.append(line))
    return lines


@pytest.fixture
def shard(write_tar):
    return write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})


def values(index):
    return index.path, index.keys.tolist(), index.places.tolist(), index.places.dtype, index.skips


def test_second_time_is_read_from_disk(write_tar, tmp_path, scans):
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b', '2.jpg': b'c', 'é.jpg': b'd'})
    empty = write_tar('e.tar', {'1.jpg': b'a'})
    folder = tmp_path / 'deep' / 'index'
    first, second = (index_shards([path, empty], LAYOUT, str(folder)) for _ in range(2))
    assert list(map(values, first)) == list(map(values, second))
    assert values(first[0]) == values(scan_shard(path, LAYOUT))
    assert scans == [path, empty]
    assert [file.suffix for file in folder.iterdir()] == ['.index', '.index']


def test_what_does_not_fit_is_scanned_again(write_tar, shard, tmp_path, scans):
    def keys(path=shard, layout=LAYOUT):
        return load_or_scan(path, layout, str(folder)).keys.tolist()

    folder = tmp_path / 'index'
    folder.mkdir()
    assert keys() == [b'1']
    write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b', '2.jpg': b'c' * 2000, '2.txt': b'd'})
    assert keys() == [b'1', b'2']
    assert keys(layout=ShardLayout(caption='json')) == []
    (file,) = folder.iterdir()
    for damaged in (file.read_bytes()[:300], file.read_bytes()[:20], b'', b'junk'):
        file.write_bytes(damaged)
        assert keys() == [b'1', b'2']
    assert len(scans) == 7
    other = write_tar('b/s.tar', {'3.jpg': b'a', '3.txt': b'b'})  # a name that was there before
    for _ in range(2):
        assert (keys(), keys(other)) == ([b'1', b'2'], [b'3'])
    assert len(scans) == 8


def test_missing_shard_and_no_folder(shard, tmp_path, scans):
    path = str(tmp_path / 'absent.tar')
    assert load_or_scan(path, LAYOUT, str(tmp_path / 'index')).skips[0].reason == 'missing_shard'
    for _ in range(2):
        load_or_scan(shard, LAYOUT, None)
    assert len(scans) == 3
    assert not (tmp_path / 'index').exists()


def test_processes_begin_at_places_of_their_own_and_keep_the_order(write_tar, scans, monkeypatch):
    paths = [write_tar(f'{i}.tar', {f'{i}.jpg': b'a', f'{i}.txt': b'b'}) for i in range(5)]
    monkeypatch.setattr(shard_index_cache, 'get_world_size', lambda: 2)
    for rank, order in ((0, [0, 1, 2, 3, 4]), (1, [2, 3, 4, 0, 1])):
        monkeypatch.setattr(shard_index_cache, 'get_rank', lambda rank=rank: rank)
        scans.clear()
        indices = index_shards(paths, LAYOUT, None)
        assert scans == [paths[i] for i in order]
        assert [index.path for index in indices] == paths


def test_folder_that_cannot_be_written_is_told_and_not_used(shard, tmp_path, log):
    (tmp_path / 'file').touch()
    (index,) = index_shards([shard], LAYOUT, str(tmp_path / 'file' / 'index'))
    assert index.keys.tolist() == [b'1']
    assert 'cannot be written' in log[0]


def test_progress_of_a_long_scan_is_logged(shard, monkeypatch, log):
    monkeypatch.setattr(shard_index_cache, '_LOG_SECONDS', 0.0)
    index_shards([shard] * 2, LAYOUT, None)
    assert log == ['Indexed 1 of 2 shards', 'Indexed 2 of 2 shards']
