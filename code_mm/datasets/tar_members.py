"""The members of a tar file that may be damaged."""

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from .sample_ledger import Skip

_BLOCK = 512  # bytes; headers start at multiples, and two blocks of zeros end a tar file
# first bytes of gzip, bzip2, xz and zstd files
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd')


def tar_members(path: str, skips: list[Skip]) -> Iterator[tarfile.TarInfo]:
    """Yield the whole file members of a shard, from its headers alone.

    Damage costs what it hit: members before a cut, and before and after overwritten
    headers, are yielded. Nothing is ever unpacked, so a name such as ``../x`` is
    just a name.

    Args:
        path: tar file, uncompressed.
        skips: damage is appended here, each item named by the shard and the last
            member before it.

    Yields:
        Headers with ``offset_data`` and ``size`` in bytes.
    """
    shard = os.path.basename(path)
    if not os.path.exists(path):
        skips.append(Skip('missing_shard', shard))
        return
    last, end = '', 0  # name of the last member and where the next header is due
    try:
        size = os.path.getsize(path)
        with open(path, 'rb') as file, _open(file) as tar:
            while (member := _next(tar, size)) is not None:
                if _has_data(file, end, member.offset):
                    skips.append(Skip('corrupt_header', f'{shard}/{last}', f'at byte {end}'))
                last, end = member.name, tar.offset
                if member.isfile() and member.offset_data + member.size <= size:
                    yield member
            if not last:
                raise tarfile.ReadError('no tar file')
            if size < end + 2 * _BLOCK:
                skips.append(Skip('truncated_shard', f'{shard}/{last}', f'ends at byte {size}'))
            elif _has_data(file, end, size):
                skips.append(Skip('corrupt_header', f'{shard}/{last}', f'at byte {end}'))
    except (tarfile.TarError, OSError, ValueError) as error:
        skips.append(Skip('unreadable_shard', shard, str(error)))


def _open(file: BinaryIO) -> tarfile.TarFile:
    if file.read(8).startswith(_COMPRESSED):
        raise tarfile.ReadError('a compressed tar file has no random access; decompress it')
    file.seek(0)
    # With ignore_zeros, the next header is looked for after a damaged one.
    return tarfile.TarFile(
        fileobj=file, mode='r', ignore_zeros=True, encoding='utf-8', errors='backslashreplace'
    )


def _next(tar: tarfile.TarFile, size: int) -> tarfile.TarInfo | None:
    """The next header that can be read, or None at the end."""
    tar.members.clear()  # tarfile keeps them all, which a million members would feel
    while True:
        try:
            return tar.next()
        except tarfile.ReadError:
            if tar.offset + _BLOCK >= size:
                return None
            tar.offset += _BLOCK
            tar.fileobj.seek(tar.offset)


def _has_data(file: BinaryIO, start: int, stop: int) -> bool:
    """Whether bytes ``[start, stop)`` hold anything but zeros."""
    if start >= stop:
        return False
    position = file.tell()
    file.seek(start)
    found = file.read(stop - start).strip(b'\0') != b''
    file.seek(position)
    return found
