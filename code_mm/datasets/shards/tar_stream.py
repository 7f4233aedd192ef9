"""The members of a tar file that is read once, from begin to end, and may be damaged."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator

from .tar_members import BLOCK, MAX_MEMBER, BoundedHeader, open_damaged

Damage = Callable[[str, str, str], None]


class _HeaderCount:
    """How many blocks without a header came since the last member."""

    def __init__(self) -> None:
        self.zeros = self.invalid = 0

    def header_class(self) -> type[BoundedHeader]:
        count = self

        class Header(BoundedHeader):
            @classmethod
            def frombuf(cls, buf, encoding, errors):
                try:
                    return super().frombuf(buf, encoding, errors)
                except tarfile.EOFHeaderError:
                    count.zeros += 1
                    raise
                except tarfile.InvalidHeaderError:
                    count.invalid += 1
                    raise

        return Header


def stream_members(
    file, wanted: Callable[[str], bool], damage: Damage
) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the whole file members that are wanted.

    Unlike ``tarfile`` (and so webdataset), which end in silence at the first bad header,
    damage is reported and costs what it hit: members before a cut, and before and after
    overwritten headers, are yielded. Nothing is unpacked: a name such as ``../x`` is
    just a name.

    Args:
        file: with ``read``, ``tell``, ``peek`` and ``seek`` ahead.
        wanted: which members to read, by name.
        damage: called with reason (as in ``UNUSABLE_REASONS``), last member before it, detail.

    Raises:
        OSError: the file cannot be read on.
    """
    count, last = _HeaderCount(), ''
    try:
        tar = open_damaged(file, count.header_class())
        if tar.firstmember is None:
            raise tarfile.ReadError('no tar file')
        while (member := _next(tar, count)) is not None:
            if count.invalid:
                damage('corrupt_header', last, f'before byte {member.offset}')
            count.zeros, count.invalid, last = 0, 0, member.name
            if not member.is_plain_file or not wanted(member.name):
                continue
            if member.size > MAX_MEMBER:
                damage('other', last, f'a member of {member.size} bytes')
                continue
            file.seek(member.offset_data)
            data = file.read(member.size)
            if len(data) == member.size:
                yield member.name, data
        _check_end(last, count, f'ends at byte {file.tell()}', damage)
    except EOFError as error:  # of a compressed stream
        damage('truncated_shard', last, str(error))
    except (tarfile.TarError, zlib.error, lzma.LZMAError, ValueError) as error:
        damage('unreadable_shard', last, str(error))


def _check_end(last: str, count: _HeaderCount, end: str, damage: Damage) -> None:
    if count.invalid:
        damage('corrupt_header', last, end)
    elif count.zeros < 2:
        damage('truncated_shard', last, end)


def _next(tar: tarfile.TarFile, count: _HeaderCount) -> BoundedHeader | None:
    """The next header that can be read, or None at the end."""
    tar.members.clear()  # tarfile keeps them all
    while True:
        try:
            member = tar.next()
            if member is None or member.is_sound:
                return member
            tar.offset = member.offset_data  # what its size says is no place to go on at
            count.invalid += 1
        except tarfile.ReadError:
            start = max(tar.offset + BLOCK, tar.fileobj.tell())
            tar.offset = -(-start // BLOCK) * BLOCK
            tar.fileobj.seek(tar.offset)
            if not tar.fileobj.peek(1):
                return None
            count.invalid += 1
