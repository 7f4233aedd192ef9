"""The members of a tar file that may be damaged."""

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from code_mm.datasets.sample_ledger import Skip

MAX_MEMBER = 2**28  # bytes; a larger member is part of no pair and would fill the memory
_MAX_SIZE = 2**40  # bytes that a header may claim
_MAX_NAME = 2**20  # bytes of a long name or of further fields, which tarfile reads at once
BLOCK = 512  # bytes; headers start at multiples, and two blocks of zeros end a tar file
# first bytes of gzip, bzip2, xz and zstd files
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd')


class BoundedHeader(tarfile.TarInfo):
    """A header whose sizes can be true.

    With a negative one ``tarfile`` goes round in circles, with a huge one of a long name it
    asks for as much memory.
    """

    _LONG = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """Parse a block; raises ``tarfile.InvalidHeaderError`` where it is no header."""
        header = super().frombuf(buf, encoding, errors)
        limit = _MAX_NAME if header.type in cls._LONG else _MAX_SIZE
        if not 0 <= header.size <= limit:
            raise tarfile.InvalidHeaderError(f'a size of {header.size} bytes')
        return header

    @property
    def is_sound(self) -> bool:
        """Whether the size that a pax header may have put here can be true, too."""
        return 0 <= self.size <= _MAX_SIZE

    @property
    def is_plain_file(self) -> bool:
        """Whether the next ``size`` bytes are its content: no link, device, sparse file."""
        return self.isfile() and not self.issparse()


def tar_members(path: str, skips: list[Skip]) -> Iterator[BoundedHeader]:
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
                if not member.is_plain_file or member.offset_data + member.size > size:
                    continue
                if member.size > MAX_MEMBER:
                    skips.append(
                        Skip('other', f'{shard}/{last}', f'a member of {member.size} bytes')
                    )
                    continue
                yield member
            if not last:
                raise tarfile.ReadError('no tar file')
            if size < end + 2 * BLOCK:
                skips.append(Skip('truncated_shard', f'{shard}/{last}', f'ends at byte {size}'))
            elif _has_data(file, end, size):
                skips.append(Skip('corrupt_header', f'{shard}/{last}', f'at byte {end}'))
    except (tarfile.TarError, OSError, ValueError) as error:
        skips.append(Skip('unreadable_shard', shard, str(error)))


def open_damaged(file, header: type[BoundedHeader] = BoundedHeader) -> tarfile.TarFile:
    """Open a tar file in which, after a damaged header, the next one is looked for."""
    return tarfile.TarFile(
        fileobj=file,
        mode='r',
        ignore_zeros=True,
        encoding='utf-8',
        errors='backslashreplace',
        tarinfo=header,
    )


def _open(file: BinaryIO) -> tarfile.TarFile:
    if file.read(8).startswith(_COMPRESSED):
        raise tarfile.ReadError('a compressed tar file has no random access; decompress it')
    file.seek(0)
    return open_damaged(file)


def _next(tar: tarfile.TarFile, size: int) -> BoundedHeader | None:
    """The next header that can be read, or None at the end."""
    tar.members.clear()  # tarfile keeps them all, which a million members would feel
    while True:
        try:
            member = tar.next()
            if member is None or member.is_sound:
                return member
            tar.offset = member.offset_data  # what its size says is no place to go on at
        except tarfile.ReadError:
            if tar.offset + BLOCK >= size:
                return None
            tar.offset += BLOCK
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
