"""Damage must cost what it hit, never the rest of a shard, and be told."""

import gzip
import tarfile

import pytest

from code_mm.datasets.shards.tar_members import tar_members

BLOCK = 512


@pytest.fixture
def shard(write_tar):
    """Ten members of 700 bytes: each takes a header and two blocks of data."""
    return write_tar('00000.tar', [(f'{i}.jpg', bytes([65 + i]) * 700) for i in range(10)])


def read(path):
    skips = []
    with open(path, 'rb') as file:
        data = file.read()
    found = {
        member.name: data[member.offset_data : member.offset_data + member.size]
        for member in tar_members(path, skips)
    }
    return found, [skip.reason for skip in skips], skips


def expected(numbers):
    return {f'{i}.jpg': bytes([65 + i]) * 700 for i in numbers}


def patch(path, offset, data):
    with open(path, 'r+b') as file:
        file.seek(offset)
        file.write(data)


def test_whole_shard(shard):
    assert read(shard)[:2] == (expected(range(10)), [])


def test_other_formats_long_names_and_folders(tmp_path):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        path = tmp_path / f'{form}.tar'
        long = 'f' * 90 + '/' + 'n' * 95 + '.jpg'
        (tmp_path / 'x').write_bytes(b'abc')
        with tarfile.open(path, 'w', format=form) as tar:
            tar.add(tmp_path / 'x', '1.jpg')
            tar.addfile(tarfile.TarInfo('folder'))
            folder = tarfile.TarInfo('deep')
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            tar.add(tmp_path / 'x', long)
        found, reasons, _ = read(path)
        assert reasons == []
        assert found['1.jpg'] == found[long] == b'abc'
        assert 'deep' not in found


@pytest.mark.parametrize('size', [100, 511, 513, 1200, 1537, 3 * BLOCK * 4, 3 * BLOCK * 4 + 100])
def test_cut_shard_keeps_what_is_before_the_cut(shard, size):
    with open(shard, 'r+b') as file:
        file.truncate(size)
    found, reasons, skips = read(shard)
    whole = [i for i in range(10) if (3 * i + 1) * BLOCK + 700 <= size]
    assert found == expected(whole)
    assert reasons == (['truncated_shard'] if size > BLOCK else ['unreadable_shard'])
    assert skips[0].key.startswith('00000.tar')


@pytest.mark.parametrize('junk', [b'\xff' * BLOCK, b'not a header' * 40, b'9' * BLOCK])
def test_overwritten_header_costs_one_member(shard, junk):
    patch(shard, 4 * 3 * BLOCK, junk)
    found, reasons, skips = read(shard)
    assert found == expected([0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert reasons == ['corrupt_header']
    assert skips[0].key == '00000.tar/3.jpg'  # the last one before the damage


def test_zeroed_members_and_the_first_and_last_header(shard):
    patch(shard, 0, b'\xff' * BLOCK)
    patch(shard, 9 * 3 * BLOCK, b'\xff' * BLOCK)
    found, reasons, _ = read(shard)
    assert found == expected(range(1, 9))
    assert reasons == ['corrupt_header', 'corrupt_header']


def test_broken_pax_header_does_not_end_the_scan(tmp_path):
    path = tmp_path / '00000.tar'
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for name in ('1.jpg', 'é' * 60 + '.jpg', '3.jpg'):
            tar.addfile(tarfile.TarInfo(name))
    # 1.jpg, then pax header, its data, then the header of the long name
    patch(path, 3 * BLOCK, b'\xff' * BLOCK)
    found, reasons, _ = read(path)
    assert {'1.jpg', '3.jpg'} <= found.keys()
    assert 'corrupt_header' in reasons


def test_joined_tar_files_are_one(shard, tmp_path):
    joined = tmp_path / 'joined.tar'
    with open(shard, 'rb') as file:
        joined.write_bytes(file.read() * 2)
    skips = []
    assert len(list(tar_members(str(joined), skips))) == 20
    assert skips == []


def test_what_is_no_shard(shard, tmp_path):
    assert read_reason(tmp_path / 'empty.tar', b'') == 'unreadable_shard'
    assert read_reason(tmp_path / 'text.tar', b'<html>404</html>' * 300) == 'unreadable_shard'
    with open(shard, 'rb') as file:
        compressed = gzip.compress(file.read())
    skips = []
    (tmp_path / 'x.tar').write_bytes(compressed)
    assert list(tar_members(str(tmp_path / 'x.tar'), skips)) == []
    assert skips[0].reason == 'unreadable_shard'
    assert 'decompress it' in skips[0].detail
    skips = []
    assert list(tar_members(str(tmp_path / 'absent.tar'), skips)) == []
    assert skips[0][:2] == ('missing_shard', 'absent.tar')


def read_reason(path, data):
    path.write_bytes(data)
    found, reasons, skips = read(str(path))
    assert not found
    assert skips[0].key == path.name
    return reasons[0]


def test_names_that_are_no_utf8_can_be_printed(write_tar):
    path = write_tar('00000.tar', [('abcd.jpg', b'x')])
    with open(path, 'rb') as file:
        header = bytearray(file.read(BLOCK))
    header[:4] = b'ab\xe9d'
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    patch(path, 0, bytes(header))
    (name,) = read(path)[0]
    assert name.encode() == b'ab\\xe9d.jpg'
