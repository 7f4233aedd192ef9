import gzip
from pathlib import Path

import numpy as np
import pytest

from code_mm.datasets.shards import shard_index
from code_mm.datasets.shards.shard_index import ShardLayout, index_shards, load_or_scan, scan_shard

LAYOUT = ShardLayout()


def contents(path, index):
    """What the index points at, as {key: (image, caption, json)}."""
    data = Path(path).read_bytes()
    return {
        key.decode(): tuple(data[offset : offset + size] for offset, size in places.tolist())
        for key, places in zip(index.keys, index.places, strict=True)
    }


def test_index_points_at_the_members(write_tar):
    members = {
        '1.jpg': b'image one',
        '3.jpg': b'image three',
        **{'1.json': b'{}', '1.txt': b'caption one'},
        **{'2.txt': b'caption two', '2.PNG': b'image two'},  # other order, no json, upper case
        '3.txt': b'caption three',  # no neighbour of its image
        # another folder, another sample; its dot is no extension
        **{'v1.2/3.jpg': b'e', 'v1.2/3.txt': b'f'},
        **{'a0.b.jpg': b'g', 'a0.b.txt': b'h'},  # a key with a dot
        **{'.hidden.jpg': b'i', 'README': b'j', '3.cls': b'k'},
        '3.seg.png': b'l',  # of 3, and no image of a sample 3.seg
        **{'4.gif': b'm', '4.caption': b'n'},  # a pair in other words
    }
    path = write_tar('00007.tar', members)
    index = scan_shard(path)
    assert contents(path, index) == {
        '1': (b'image one', b'caption one', b'{}'),
        '2': (b'image two', b'caption two', b''),
        '3': (b'image three', b'caption three', b''),
        'v1.2/3': (b'e', b'f', b''),
        'a0.b': (b'g', b'h', b''),
    }
    # every member is used, or left out with a reason and a count
    assert index.skips == [
        ('unused_member', '00007.tar/.hidden.jpg', 'the first', 4),
        ('missing_image', '00007.tar/4', '', 1),
    ]
    index = scan_shard(path, ShardLayout(image=('seg.png', 'gif'), caption='caption'))
    assert contents(path, index) == {'4': (b'm', b'n', b'')}


def test_what_is_no_shard(tmp_path):
    path = tmp_path / 'x.tar'
    path.write_bytes(gzip.compress(b'x' * 999))
    index = scan_shard(str(path))
    assert len(index.keys) == len(index.places) == 0
    (skip,) = index.skips
    assert skip[:2] == ('unreadable_shard', 'x.tar') and 'decompress it' in skip.detail
    absent = str(tmp_path / 'absent.tar')
    assert load_or_scan(absent, LAYOUT, None).skips == [('missing_shard', 'absent.tar', '', 1)]


@pytest.fixture
def scans(monkeypatch):
    """Paths that were really scanned."""
    paths = []

    def counting(path, layout):
        paths.append(path)
        return scan_shard(path, layout)

    monkeypatch.setattr(shard_index, 'scan_shard', counting)
    return paths


def test_second_time_is_read_from_disk(write_tar, tmp_path, scans):
    path = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b', '2.jpg': b'c', 'é.jpg': b'd'})
    paths, folder = [path, write_tar('e.tar', {'1.jpg': b'a'})], str(tmp_path / 'deep' / 'index')
    for made, read in zip(*(index_shards(paths, LAYOUT, folder) for _ in range(2)), strict=True):
        assert (made.path, made.skips) == (read.path, read.skips)
        np.testing.assert_array_equal(made.keys, read.keys)
        np.testing.assert_array_equal(made.places, read.places, strict=True)
    assert scans == paths
    (tmp_path / 'file').touch()  # a folder that cannot be made is done without
    assert len(index_shards([path], LAYOUT, str(tmp_path / 'file' / 'index'))[0].keys) == 1


def test_what_does_not_fit_is_scanned_again(write_tar, tmp_path, scans):
    shard = write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b'})
    folder = tmp_path / 'index'
    folder.mkdir()

    def keys(path=shard, layout=LAYOUT):
        return load_or_scan(path, layout, str(folder)).keys.tolist()

    assert keys() == [b'1']
    write_tar('s.tar', {'1.jpg': b'a', '1.txt': b'b', '2.jpg': b'c' * 2000, '2.txt': b'd'})
    assert keys() == [b'1', b'2']
    assert keys(layout=ShardLayout(caption='json')) == []
    (file,) = folder.iterdir()
    for damaged in (file.read_bytes()[:300], b'', b'junk'):
        file.write_bytes(damaged)
        assert keys() == [b'1', b'2']
    assert len(scans) == 6
    other = write_tar('b/s.tar', {'3.jpg': b'a', '3.txt': b'b'})  # a name that was there before
    for _ in range(2):
        assert (keys(), keys(other)) == ([b'1', b'2'], [b'3'])
    assert len(scans) == 7


def test_processes_begin_at_places_of_their_own_and_keep_the_order(write_tar, scans, monkeypatch):
    paths = [write_tar(f'{i}.tar', {f'{i}.jpg': b'a', f'{i}.txt': b'b'}) for i in range(5)]
    monkeypatch.setattr(shard_index, 'get_world_size', lambda: 2)
    monkeypatch.setattr(shard_index, 'get_rank', lambda: 1)
    indices = index_shards(paths, LAYOUT, None)
    assert scans == [paths[i] for i in (2, 3, 4, 0, 1)]
    assert [index.path for index in indices] == paths
