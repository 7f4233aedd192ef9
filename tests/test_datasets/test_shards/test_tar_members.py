"""Damage must cost what it hit, never the rest of a shard, and be told: on disks and in streams."""

import random
import tarfile
from pathlib import Path

import pytest
from hostile_shards import header

from code_mm.datasets.shards import tar_members as tar_members_module
from code_mm.datasets.shards.shard_opener import forward_file
from code_mm.datasets.shards.tar_members import tar_members

BLOCK = 512


def dribble(path):
    """A pipe: cannot seek, and gives a few bytes at a time."""
    data, rng = open(path, 'rb'), random.Random(0)  # noqa: SIM115 - closed with what it is read by
    read = lambda size: data.read(min(size, rng.randrange(1, 700)))  # noqa: E731
    return forward_file(read, data.close)


@pytest.fixture(params=['file', 'pipe', 'headers'])
def read(request):
    """Reads a tar file: (contents by name, reasons of damage, its notes)."""

    def read(path, wanted=lambda name: True):
        notes, whole = [], Path(path).read_bytes()
        with dribble(path) if request.param == 'pipe' else open(path, 'rb') as file:
            with_data = request.param != 'headers'
            found = tar_members(file, wanted, lambda *note: notes.append(note), with_data)
            found = [(member, data) for member, data in found if data is not None]
        if not with_data:  # what lies where the index points
            ends = [(m, m.offset_data + m.size) for m, _ in found]
            found = [(m, whole[m.offset_data : end]) for m, end in ends if end <= len(whole)]
        contents = {member.name: data for member, data in found}
        assert len(contents) == len(found)
        return contents, [reason for reason, *_ in notes], notes

    return read


@pytest.fixture
def shard(write_tar):
    """Ten members of 700 bytes: each takes a header and two blocks of data."""
    return write_tar('00000.tar', [(f'{i}.jpg', bytes([65 + i]) * 700) for i in range(10)])


def expected(numbers):
    return {f'{i}.jpg': bytes([65 + i]) * 700 for i in numbers}


def test_whole_shard(read, shard):
    assert read(shard)[:2] == (expected(range(10)), [])
    assert read(shard, lambda name: name == '7.jpg')[:2] == (expected([7]), [])


@pytest.mark.parametrize('form', [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_other_formats_long_names_and_folders(read, tmp_path, form):
    long = 'f' * 90 + '/' + 'n' * 95 + '.jpg'
    (tmp_path / 'x').write_bytes(b'abc')
    with tarfile.open(tmp_path / 'x.tar', 'w', format=form) as tar:
        tar.add(tmp_path / 'x', '1.jpg')
        folder = tarfile.TarInfo('deep')
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        tar.add(tmp_path / 'x', long)
    assert read(tmp_path / 'x.tar')[:2] == ({'1.jpg': b'abc', long: b'abc'}, [])


@pytest.mark.parametrize('size', [100, 513, 1200, 3 * BLOCK * 4, 3 * BLOCK * 4 + 100])
def test_cut_shard_keeps_what_is_before_the_cut(read, shard, size):
    with open(shard, 'r+b') as file:
        file.truncate(size)
    whole = [i for i in range(10) if (3 * i + 1) * BLOCK + 700 <= size]
    reasons = ['truncated_shard'] if size > BLOCK else ['unreadable_shard']
    assert read(shard)[:2] == (expected(whole), reasons)


def test_overwritten_headers_cost_one_member_each(read, shard):
    data = bytearray(Path(shard).read_bytes())
    for start in (0, 4 * 3 * BLOCK, 9 * 3 * BLOCK):
        data[start : start + BLOCK] = b'\xff' * BLOCK
    Path(shard).write_bytes(data)
    found, reasons, notes = read(shard)
    assert found == expected([1, 2, 3, 5, 6, 7, 8])
    assert reasons == ['corrupt_header'] * 3
    assert notes[1][1] == '3.jpg'  # the last one before the damage


def test_two_shards_in_one_file(read, shard, write_tar, tmp_path):
    other = write_tar('b.tar', {'x.jpg': b'x'})
    both = tmp_path / 'both.tar'
    both.write_bytes(Path(shard).read_bytes() + Path(other).read_bytes())
    assert read(both)[:2] == ({**expected(range(10)), 'x.jpg': b'x'}, [])


@pytest.mark.parametrize(
    ('content', 'reason', 'word'),
    [
        (b'', 'unreadable_shard', 'empty'),
        (b'text\n' * 500, 'unreadable_shard', 'no tar file'),
        (bytes(10240), 'unreadable_shard', 'no tar file'),
        (header('a.jpg', 2**40) + b'abc' + bytes(2 * BLOCK), 'other', f'{2**40} bytes'),
    ],
)
def test_what_is_no_tar_file_or_claims_to_be_huge(read, tmp_path, content, reason, word):
    (tmp_path / 'x.tar').write_bytes(content)
    found, reasons, notes = read(tmp_path / 'x.tar')
    assert (found, reasons[0]) == ({}, reason) and word in notes[0][2]


def test_a_sparse_header_at_a_cut_end_and_endless_junk(read, shard, monkeypatch):
    sparse = bytearray(header('b.jpg', 512, tarfile.GNUTYPE_SPARSE))
    sparse[482] = 1  # its map goes on in the next block
    sparse[148:156] = b'%06o\0 ' % (sum(sparse) - sum(sparse[148:156]) + 8 * 32)
    whole = Path(shard).read_bytes()[: 30 * BLOCK]
    Path(shard).write_bytes(whole + sparse)
    assert read(shard)[:2] == (expected(range(10)), ['truncated_shard'])
    monkeypatch.setattr(tar_members_module, '_MAX_JUNK', 50)
    Path(shard).write_bytes(whole + b'\xff' * BLOCK * 100)
    found, reasons, notes = read(shard)
    assert (found, reasons) == (expected(range(10)), ['unreadable_shard'])
    assert 'more than 50 blocks that belong to no member' in notes[0][2]


def test_names_that_are_no_utf8_can_be_printed(read, write_tar):
    path = write_tar('00000.tar', [('ab\udce9d.jpg', b'x')])  # one byte, e9
    (name,) = read(path)[0]
    assert name.encode() == b'ab\\xe9d.jpg'
