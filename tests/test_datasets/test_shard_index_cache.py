import os

import pytest

from code_mm.datasets import shard_index_cache
from code_mm.datasets.shard_index import ShardLayout, scan_shard
from code_mm.datasets.shard_index_cache import load_or_scan

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
    first, second = (load_or_scan(path, LAYOUT, folder) for _ in range(2))
    same(first, second)
    same(first, scan_shard(path, LAYOUT))
    assert scans == [path]
    assert [name for name in os.listdir(folder) if name.endswith('.partial')] == []


def test_changed_shard_other_layout_and_damaged_file_are_scanned_again(write_tar, tmp_path, scans):
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})
    folder = tmp_path / 'index'
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
