import os

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


def same(a, b):
    assert (a.path, a.skips) == (b.path, b.skips)
    assert a.keys.tolist() == b.keys.tolist()
    assert a.places.tolist() == b.places.tolist()
    assert a.places.dtype == b.places.dtype


def test_second_time_is_read_from_disk(write_tar, tmp_path, scans):
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b', '2.jpg': b'c', 'é.jpg': b'd'})
    folder = str(tmp_path / 'deep' / 'index')
    first, second = (index_shards([path], LAYOUT, folder)[0] for _ in range(2))
    same(first, second)
    same(first, scan_shard(path, LAYOUT))
    assert scans == [path]
    assert [name for name in os.listdir(folder) if name.endswith('.partial')] == []


def test_changed_shard_other_layout_and_damaged_file_are_scanned_again(write_tar, tmp_path, scans):
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})
    folder = tmp_path / 'index'
    folder.mkdir()
    load_or_scan(path, LAYOUT, str(folder))
    write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b', '2.jpg': b'c' * 2000, '2.txt': b'd'})
    assert load_or_scan(path, LAYOUT, str(folder)).keys.tolist() == [b'1', b'2']
    other = ShardLayout(caption='json')
    assert load_or_scan(path, other, str(folder)).keys.tolist() == []
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert load_or_scan(path, LAYOUT, str(folder)).keys.tolist() == [b'1', b'2']
    assert len(scans) == 4


def test_same_name_in_two_folders(write_tar, tmp_path):
    one = write_tar('a/0.tar', {'1.jpg': b'a', '1.txt': b'b'})
    two = write_tar('b/0.tar', {'2.jpg': b'a', '2.txt': b'b'})
    folder = str(tmp_path / 'index')
    (tmp_path / 'index').mkdir()
    for _ in range(2):
        assert load_or_scan(one, LAYOUT, folder).keys.tolist() == [b'1']
        assert load_or_scan(two, LAYOUT, folder).keys.tolist() == [b'2']


def test_missing_shard_and_no_folder(write_tar, tmp_path, scans):
    path = str(tmp_path / 'absent.tar')
    assert load_or_scan(path, LAYOUT, str(tmp_path / 'index')).skips[0].reason == 'missing_shard'
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})
    for _ in range(2):
        load_or_scan(path, LAYOUT, None)
    assert len(scans) == 3
    assert not (tmp_path / 'index').exists()


def test_processes_begin_at_places_of_their_own_and_keep_the_order(
    write_tar, tmp_path, scans, monkeypatch
):
    paths = [write_tar(f'{i}.tar', {f'{i}.jpg': b'a', f'{i}.txt': b'b'}) for i in range(5)]
    monkeypatch.setattr(shard_index_cache, 'get_world_size', lambda: 2)
    for rank, order in ((0, [0, 1, 2, 3, 4]), (1, [2, 3, 4, 0, 1])):
        monkeypatch.setattr(shard_index_cache, 'get_rank', lambda rank=rank: rank)
        scans.clear()
        indices = index_shards(paths, LAYOUT, None)
        assert scans == [paths[i] for i in order]
        assert [index.path for index in indices] == paths


def test_folder_that_cannot_be_written_is_told_and_not_used(write_tar, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(shard_index_cache, 'print_log', lambda line, **_: lines.append(line))
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})
    (tmp_path / 'file').touch()
    (index,) = index_shards([path], LAYOUT, str(tmp_path / 'file' / 'index'))
    assert index.keys.tolist() == [b'1']
    assert 'cannot be written' in lines[0]


def test_progress_of_a_long_scan_is_logged(write_tar, monkeypatch):
    lines = []
    monkeypatch.setattr(shard_index_cache, 'print_log', lambda line, **_: lines.append(line))
    monkeypatch.setattr(shard_index_cache, '_LOG_SECONDS', 0.0)
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})
    index_shards([path] * 2, LAYOUT, None)
    assert lines == ['Indexed 1 of 2 shards', 'Indexed 2 of 2 shards']
