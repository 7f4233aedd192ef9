import gzip
from pathlib import Path

import numpy as np

from code_mm.datasets.shards.shard_index import ShardLayout, scan_shard


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
        '1.json': b'{}',
        '1.txt': b'caption one',
        '2.txt': b'caption two',  # other order, no json, other extension, upper case
        '2.PNG': b'image two',
        '3.txt': b'caption three',  # no neighbour of its image
    }
    path = write_tar('00007.tar', members)
    index = scan_shard(path)
    assert contents(path, index) == {
        '1': (b'image one', b'caption one', b'{}'),
        '2': (b'image two', b'caption two', b''),
        '3': (b'image three', b'caption three', b''),
    }
    assert (index.skips, index.name, index.places.dtype) == ([], '00007.tar', np.uint32)


def test_what_is_left_out_is_named_with_its_reason(write_tar):
    members = [
        ('1.jpg', b'x'),  # no caption
        ('2.txt', b'x'),  # no image
        *[('3.jpg', b''), ('3.txt', b'x')],
        *[('4.jpg', b'x'), ('4.txt', b'')],
        *[('5.jpg', b'first'), ('5.png', b'second image'), ('5.txt', b'x')],
        ('6.json', b'{}'),
        *[('good.jpg', b'y'), ('good.txt', b'z')],
    ]
    path = write_tar('s.tar', members)
    index = scan_shard(path)
    assert contents(path, index) == {'5': (b'first', b'x', b''), 'good': (b'y', b'z', b'')}
    assert {(skip.reason, skip.key) for skip in index.skips} == {
        ('missing_caption', 's.tar/1'),
        ('missing_image', 's.tar/2'),
        ('broken_image', 's.tar/3'),
        ('empty_caption', 's.tar/4'),
        ('duplicate_member', 's.tar/5.png'),
        ('missing_image', 's.tar/6'),
    }


def test_odd_names(write_tar):
    members = {
        '../../etc/1.jpg': b'a',  # only a name: nothing is ever unpacked
        '../../etc/1.txt': b'b',
        'part/1.jpg': b'c',  # another folder, another sample
        'part/1.txt': b'd',
        'v1.2/3.jpg': b'e',  # a dot in a folder is no extension
        'v1.2/3.txt': b'f',
        '..': b'g',
        '.hidden.jpg': b'h',
        'README': b'i',
        '4.seg.png': b'j',  # not an image extension
    }
    path = write_tar('s.tar', members)
    index = scan_shard(path)
    assert contents(path, index) == {
        '../../etc/1': (b'a', b'b', b''),
        'part/1': (b'c', b'd', b''),
        'v1.2/3': (b'e', b'f', b''),
    }
    assert index.skips == []


def test_other_layouts(write_tar):
    path = write_tar('s.tar', {'1.jp2': b'a', '1.caption': b'b', '2.jpg': b'c', '2.json': b'd'})
    index = scan_shard(path, ShardLayout(image=('jp2',), caption='caption'))
    assert contents(path, index) == {'1': (b'a', b'b', b'')}
    index = scan_shard(path, ShardLayout(caption='json'))
    assert contents(path, index) == {'2': (b'c', b'd', b'd')}


def test_damage_costs_what_it_hit(write_tar):
    members = [(f'{i}.{kind}', b'x' * 600) for i in range(5) for kind in ('jpg', 'txt')]
    path = write_tar('s.tar', members)
    whole = Path(path).read_bytes()
    header = 3 * 512 * 4  # of 2.jpg
    Path(path).write_bytes(whole[:header] + b'\xff' * 512 + whole[header + 512 :])
    index = scan_shard(path)
    assert sorted(contents(path, index)) == ['0', '1', '3', '4']
    assert [(skip.reason, skip.key) for skip in index.skips] == [
        ('corrupt_header', 's.tar/1.txt'),
        ('missing_image', 's.tar/2'),
    ]
    Path(path).write_bytes(whole[: header + 700])
    index = scan_shard(path)
    assert sorted(contents(path, index)) == ['0', '1']
    assert [(skip.reason, skip.key) for skip in index.skips] == [('truncated_shard', 's.tar/2.jpg')]


def test_what_is_no_shard(write_tar, tmp_path):
    path = tmp_path / 'x.tar'
    for content, word in ((b'', 'empty'), (gzip.compress(b'x' * 999), 'decompress it')):
        path.write_bytes(content)
        index = scan_shard(str(path))
        assert len(index.keys) == len(index.places) == 0
        assert [skip[:2] for skip in index.skips] == [('unreadable_shard', 'x.tar')]
        assert word in index.skips[0].detail
    assert scan_shard(str(tmp_path / 'absent.tar')).skips == [('missing_shard', 'absent.tar', '')]
