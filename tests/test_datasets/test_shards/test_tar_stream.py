"""Damage in a stream must cost what it hit, never the rest of a shard, and be told."""

import io
import random
import struct
import tarfile
from pathlib import Path

import pytest

from code_mm.datasets.shards.shard_opener import ForwardFile
from code_mm.datasets.shards.tar_stream import stream_members

BLOCK = 512


class Dribble(io.RawIOBase):
    """A pipe: cannot seek, and gives a few bytes at a time."""

    def __init__(self, data):
        self.data, self.rng = io.BytesIO(data), random.Random(0)

    def readable(self):
        return True

    def read(self, size=-1):
        return self.data.read(min(size, self.rng.randrange(1, 700)))


@pytest.fixture(params=['file', 'pipe'])
def read(request):
    def read(path, wanted=lambda name: True):
        damage = []
        with open(path, 'rb') as file:
            if request.param == 'pipe':
                file = ForwardFile(Dribble(file.read()))
            found = list(stream_members(file, wanted, lambda *notes: damage.append(notes)))
        assert len(dict(found)) == len(found)
        return dict(found), [reason for reason, *_ in damage], damage

    return read


@pytest.fixture
def shard(write_tar):
    """Ten members of 700 bytes: each takes a header and two blocks of data."""
    return write_tar('00000.tar', [(f'{i}.jpg', bytes([65 + i]) * 700) for i in range(10)])


def expected(numbers):
    return {f'{i}.jpg': bytes([65 + i]) * 700 for i in numbers}


def patch(path, offset, data):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(data)


def test_whole_shard(read, shard):
    assert read(shard)[:2] == (expected(range(10)), [])
    assert read(shard, lambda name: name == '7.jpg')[:2] == (expected([7]), [])


def test_other_formats_long_names_and_folders(read, tmp_path):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        path = tmp_path / f'{form}.tar'
        long = 'f' * 90 + '/' + 'n' * 95 + '.jpg'
        (tmp_path / 'x').write_bytes(b'abc')
        with tarfile.open(path, 'w', format=form) as tar:
            tar.add(tmp_path / 'x', '1.jpg')
            folder = tarfile.TarInfo('deep')
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            tar.add(tmp_path / 'x', long)
        found, reasons, _ = read(path)
        assert reasons == []
        assert found == {'1.jpg': b'abc', long: b'abc'}


@pytest.mark.parametrize('size', [100, 511, 513, 1200, 1537, 3 * BLOCK * 4, 3 * BLOCK * 4 + 100])
@pytest.mark.parametrize('wanted', [True, False])
def test_cut_shard_keeps_what_is_before_the_cut(read, shard, size, wanted):
    with open(shard, 'r+b') as file:
        file.truncate(size)
    found, reasons, _ = read(shard, lambda name: wanted)
    whole = [i for i in range(10) if (3 * i + 1) * BLOCK + 700 <= size]
    assert found == (expected(whole) if wanted else {})
    assert reasons == (['truncated_shard'] if size > BLOCK else ['unreadable_shard'])


@pytest.mark.parametrize('junk', [b'\xff' * BLOCK, b'not a header' * 40, b'9' * BLOCK])
def test_overwritten_header_costs_one_member(read, shard, junk):
    patch(shard, 4 * 3 * BLOCK, junk)
    found, reasons, damage = read(shard)
    assert found == expected([0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert reasons == ['corrupt_header']
    assert damage[0][1] == '3.jpg'  # the last one before the damage


def test_first_and_last_header(read, shard):
    patch(shard, 0, b'\xff' * BLOCK)
    patch(shard, 9 * 3 * BLOCK, b'\xff' * BLOCK)
    found, reasons, _ = read(shard)
    assert found == expected(range(1, 9))
    assert reasons == ['corrupt_header', 'corrupt_header']


def test_two_shards_in_one_file(read, shard, write_tar, tmp_path):
    other = write_tar('b.tar', {'x.jpg': b'x'})
    both = tmp_path / 'both.tar'
    both.write_bytes(Path(shard).read_bytes() + Path(other).read_bytes())
    assert read(both)[:2] == ({**expected(range(10)), 'x.jpg': b'x'}, [])


@pytest.mark.parametrize(
    ('content', 'word'),
    [(b'', 'empty'), (b'text\n' * 500, 'no tar file'), (bytes(10240), 'no tar file')],
)
def test_what_is_no_tar_file(read, tmp_path, content, word):
    path = tmp_path / 'x.tar'
    path.write_bytes(content)
    found, reasons, damage = read(path)
    assert found == {}
    assert reasons == ['unreadable_shard']
    assert word in damage[0][2]


def test_broken_pax_header_does_not_end_the_shard(read, tmp_path):
    path = tmp_path / 'pax.tar'
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for name in ('a.jpg', 'ü' * 120 + '.jpg', 'c.jpg'):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b'abc'))
    data = bytearray(path.read_bytes())
    start = data.index(b'path=') - 4  # the record's length
    data[start : start + 3] = b'xxx'
    path.write_bytes(data)
    found, reasons, _ = read(path)
    assert {'a.jpg', 'c.jpg'} <= found.keys()
    assert 'corrupt_header' in reasons or len(found) == 3


def test_a_member_that_claims_to_be_huge_is_not_read(read, tmp_path):
    path = tmp_path / 'huge.tar'
    info = tarfile.TarInfo('a.jpg')
    info.size = 2**40
    end = bytes(2 * BLOCK)
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b'abc' + end)
    found, reasons, damage = read(path)
    assert found == {}
    assert reasons[0] == 'other'
    assert f'{2**40} bytes' in damage[0][2]


def test_random_damage_never_escapes_nor_hangs(read, shard, tmp_path):
    whole = Path(shard).read_bytes()
    rng = random.Random(0)
    path = tmp_path / 'damaged.tar'
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            start = rng.randrange(len(data))
            data[start : start + 8] = struct.pack('q', rng.getrandbits(63))[: len(data) - start]
        path.write_bytes(data[: rng.randrange(1, len(data))])
        found, _, _ = read(path)
        assert len(found) <= 10
