"""The members of a tar file that may be damaged, whether it is on a disk or a stream."""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

BLOCK = 512  # bytes; headers start at multiples, and two blocks of zeros end a tar file
MAX_MEMBER = 2**28  # bytes; a larger member is part of no pair and would fill the memory
_MAX_SIZE = 2**40  # bytes that a header may claim
_MAX_FIELDS = 2**14  # bytes of further fields; tarfile's time grows with their square
_MAX_NAME = 2**10  # characters; an index keeps as many for every sample of the shard
_MAX_EXTENSIONS = 8  # headers that extend one member's, for each of which tarfile calls itself
_MAX_JUNK = MAX_MEMBER // BLOCK  # blocks in a row that belong to no member; a stream may be endless
_LONG_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BoundedHeader(tarfile.TarInfo):
    """A header whose sizes can be true; the class counts the blocks that are no header.

    With a negative size ``tarfile`` goes round in circles, with a huge one of a long name it
    asks for as much memory. Each file needs a subclass of its own for its counts.
    """

    zeros = invalid = 0  # blocks of zeros, and of anything else, since the last member
    extensions = 0  # headers with further fields in a row

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        """Parse a block; raises ``tarfile.HeaderError`` where it is no header."""
        if cls.zeros + cls.invalid > _MAX_JUNK:
            raise tarfile.StreamError(f'more than {_MAX_JUNK} blocks that belong to no member')
        try:
            header = super().frombuf(buf, encoding, errors)
            is_extension = header.type in _LONG_TYPES
            cls.extensions = cls.extensions + 1 if is_extension else 0
            limit = _MAX_FIELDS if is_extension else _MAX_SIZE
            if cls.extensions > _MAX_EXTENSIONS:
                raise tarfile.InvalidHeaderError('too many headers of one member')
            if not 0 <= header.size <= limit:
                raise tarfile.InvalidHeaderError(f'a size of {header.size} bytes')
        except tarfile.EOFHeaderError:
            cls.zeros += 1
            raise
        except tarfile.InvalidHeaderError:
            cls.invalid += 1
            raise
        return header

    def _proc_member(self, tarfile_):
        try:
            return super()._proc_member(tarfile_)
        except tarfile.InvalidHeaderError:  # fields without a length, which nobody else counts
            type(self).invalid += 1
            raise

    @property
    def is_sound(self) -> bool:
        """Whether the size that a pax header may have put here can be true, too."""
        return 0 <= self.size <= _MAX_SIZE


def tar_members(
    file: BinaryIO,
    wanted: Callable[[str], bool],
    damage: Callable[[str, str, str], None],
    with_data: bool = True,
) -> Iterator[tuple[BoundedHeader, bytes | None]]:
    """Yield all members but folders, with the contents of the files that are wanted.

    Unlike ``tarfile`` (and so webdataset), which end in silence at the first bad header,
    damage is reported and costs what it hit: members before a cut, and before and after
    overwritten headers, are yielded. Nothing is ever unpacked: ``../x`` is just a name.

    Args:
        file (BinaryIO): With ``read``, ``tell``, ``peek`` and ``seek`` ahead; OSError passes.
        wanted (Callable): Whose contents, by name; of others they are None.
        damage (Callable): Called with a reason (as in ``UNUSABLE_REASONS``), the last member
            before it, and details.
        with_data (bool): False: contents are empty, and a member may end behind the file.
    """
    header, last = type('Header', (BoundedHeader,), {}), ''
    try:
        tar = tarfile.TarFile(
            fileobj=file,
            ignore_zeros=True,  # goes on behind a damaged header
            encoding='utf-8',
            errors='backslashreplace',
            tarinfo=header,
        )
        if tar.firstmember is None:
            raise tarfile.ReadError('no tar file')
        while (member := _next(tar)) is not None:
            if header.invalid:
                damage('corrupt_header', last, f'before byte {member.offset}')
            header.zeros, header.invalid, last = 0, 0, member.name[:_MAX_NAME]
            if excess := _excess(member):
                damage('other', last, excess)
            elif not has_contents(member) or not wanted(member.name):
                if not member.isdir():
                    yield member, None
            elif not with_data:
                yield member, b''
            else:
                file.seek(member.offset_data)
                if len(data := file.read(member.size)) == member.size:  # else the file ends
                    yield member, data
        if header.invalid or header.zeros < 2:
            reason = 'corrupt_header' if header.invalid else 'truncated_shard'
            damage(reason, last, f'ends at byte {file.tell()}')
    except EOFError as error:  # of a compressed stream
        damage('truncated_shard', last, str(error))
    except (tarfile.TarError, zlib.error, lzma.LZMAError, ValueError) as error:
        damage('unreadable_shard', last, str(error))


def has_contents(member: tarfile.TarInfo) -> bool:
    """Whether the next bytes are a file's: not a link's, a device's or a sparse file's."""
    return member.isfile() and not member.issparse()


def _excess(member: tarfile.TarInfo) -> str | None:
    """What of a member would fill the memory."""
    if len(member.name) > _MAX_NAME:
        return f'a name of {len(member.name)} characters'
    return f'a member of {member.size} bytes' if member.size > MAX_MEMBER else None


def _next(tar: tarfile.TarFile) -> BoundedHeader | None:
    """The next header that can be read, or None at the end."""
    tar.members.clear()  # tarfile keeps them all, which a million members would feel
    while True:
        try:
            member = tar.next()
            if member is None or member.is_sound:
                return member
            tar.offset = member.offset_data  # what its size says is no place to go on at
        except (tarfile.ReadError, LookupError, ValueError):  # the last two of sparse files' maps
            # behind the member, where that is known, or behind what was read of it
            tar.offset = -(-max(tar.offset, tar.fileobj.tell()) // BLOCK) * BLOCK
            tar.fileobj.seek(tar.offset)
            if not tar.fileobj.peek(1):
                return None
        tar.tarinfo.invalid += 1
