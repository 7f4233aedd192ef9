import os

import numpy as np
import pytest

from code_mm.datasets.shards import shard_index_cache
from code_mm.datasets.shards.shard_index import ShardLayout, scan_shard
from code_mm.datasets.shards.shard_index_bundle import bundle_file, load_bundle
from code_mm.datasets.shards.shard_index_cache import index_shards, keep_index

LAYOUT = ShardLayout()


@pytest.fixture
def opened(monkeypatch):
    """Paths whose own index was asked for, because no bundle held it."""
    paths = []
    load_or_scan = shard_index_cache.load_or_scan

    def counting(path, *args):
        paths.append(path)
        return load_or_scan(path, *args)

    monkeypatch.setattr(shard_index_cache, 'load_or_scan', counting)
    monkeypatch.setattr(shard_index_cache, '_LEAST_TOGETHER', 2)
    return paths


@pytest.fixture
def shards(write_tar, tmp_path):
    """Keys of different lengths, a shard without pairs, a shard with a lonely image."""
    return [
        write_tar(
            's/0.tar', {'1.jpg': b'a', '1.txt': b'b', 'longer.jpg': b'c', 'longer.txt': b'd'}
        ),
        write_tar('s/1.tar', {'x.jpg': b'a'}),
        write_tar('s/2.tar', {'é.jpg': b'a' * 1000, 'é.txt': b'b'}),
    ]


def same(a, b):
    assert (a.path, a.skips, a.keys.tolist()) == (b.path, b.skips, b.keys.tolist())
    assert a.places.tolist() == b.places.tolist()


def test_one_file_holds_what_was_scanned(shards, tmp_path, opened):
    folder = str(tmp_path / 'index')
    index_shards(shards, LAYOUT, folder)
    assert opened == shards
    opened.clear()
    for wanted in (shards, shards[::-1], shards[1:]):
        for index, path in zip(index_shards(wanted, LAYOUT, folder), wanted, strict=True):
            same(index, scan_shard(path, LAYOUT))
    assert opened == []
    assert not [name for name in os.listdir(folder) if name.endswith('.partial')]


def test_new_changed_and_missing_shards(shards, tmp_path, opened, write_tar):
    folder = str(tmp_path / 'index')
    index_shards(shards, LAYOUT, folder)
    opened.clear()
    write_tar('s/0.tar', {'7.jpg': b'a', '7.txt': b'b'})
    more = [
        *shards,
        write_tar('s/3.tar', {'8.jpg': b'a', '8.txt': b'b'}),
        str(tmp_path / 's/4.tar'),
    ]
    indices = index_shards(more, LAYOUT, folder)
    assert opened == [more[0], *more[3:]]
    assert [index.keys.tolist() for index in indices[::3]] == [[b'7'], [b'8']]
    assert indices[4].skips[0].reason == 'missing_shard'
    assert len([name for name in os.listdir(folder) if name.startswith('bundle')]) == 1
    opened.clear()
    index_shards(more, LAYOUT, folder)
    assert opened == [more[4]]  # it may come at any time


def test_other_layouts_and_folders_have_their_own(shards, tmp_path):
    file = bundle_file(shards, LAYOUT, 'i')
    assert bundle_file(shards[:1], LAYOUT, 'i') == file
    assert bundle_file(shards, ShardLayout(caption='json'), 'i') != file
    assert bundle_file(['/a/0.tar'], LAYOUT, 'i') != file


@pytest.mark.parametrize('damage', [lambda b: b[: len(b) // 2], lambda b: b'', lambda b: b'x' * 99])
def test_a_damaged_bundle_is_made_again(shards, tmp_path, opened, damage):
    folder = str(tmp_path / 'index')
    index_shards(shards, LAYOUT, folder)
    file = bundle_file(shards, LAYOUT, folder)
    with open(file, 'rb') as stream:
        content = stream.read()
    with open(file, 'wb') as stream:
        stream.write(damage(content))
    assert load_bundle(file, dict.fromkeys(shards, '')) == {}
    opened.clear()
    index_shards(shards, LAYOUT, folder)
    assert opened == shards
    with np.load(file) as saved:
        assert len(saved['keys']) == 3


def test_only_the_first_process_writes_it(shards, tmp_path, opened, monkeypatch):
    folder = str(tmp_path / 'index')
    monkeypatch.setattr(shard_index_cache, 'get_rank', lambda: 1)
    monkeypatch.setattr(shard_index_cache, 'get_world_size', lambda: 2)
    index_shards(shards, LAYOUT, folder)
    assert opened == [*shards[1:], shards[0]]
    assert not os.path.exists(bundle_file(shards, LAYOUT, folder))


def test_a_folder_that_can_only_be_read_is_read(shards, tmp_path, opened, monkeypatch):
    folder = str(tmp_path / 'index')
    index_shards(shards[:2], LAYOUT, folder)
    monkeypatch.setattr(shard_index_cache, '_writable', lambda folder: False)
    monkeypatch.setattr(shard_index_cache.os, 'access', lambda *args: False)
    opened.clear()
    content = sorted(os.listdir(folder))
    assert len(index_shards(shards, LAYOUT, folder)) == 3
    assert opened == shards[2:]
    assert sorted(os.listdir(folder)) == content


def test_keep_index(shards, tmp_path):
    folder = tmp_path / 'index'
    folder.mkdir()
    assert [keep_index(path, LAYOUT, str(folder)) for path in shards] == [2, 0, 1]
    assert len(list(folder.iterdir())) == 3
