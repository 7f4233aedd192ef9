"""Files that appear complete or not at all, whenever their writer is killed or the disk is full."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from glob import escape, glob
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OLD = 3600.0  # seconds after which another process's unfinished file is litter


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, suffix: str = '') -> Iterator[str]:
    """Give a name to write to, which becomes ``path`` at the end of the block.

    It ends with ``suffix``, by which some writers choose a format. Several processes and machines
    may write the same path, in a folder that exists; the last one wins. After an exception nothing
    is left; what a killed process left the next writer clears.

    Raises:
        OSError: With ``path``, also where the writer fails in words of its own on a full disk.
    """
    path = os.fspath(path)
    temporary = f'{path}.{socket.gethostname()}-{os.getpid()}.partial{suffix}'
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        full = _refusal(error, temporary)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if full:
            raise OSError(full.errno, full.strerror, path) from error
        raise
    for litter in glob(f'{escape(path)}.*.partial{suffix}'):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.path.getmtime(litter) > _OLD:
                os.unlink(litter)


def _refusal(error: BaseException, file: str) -> OSError | None:
    """Why a file could not be written, if that is the error."""
    if isinstance(error, OSError):
        ours = error.filename == file or (error.filename is None and error.errno in _FULL)
        return error if ours else None
    try:  # torch, safetensors and OpenCV do not say that the disk is full
        with open(file, 'ab') as stream:
            stream.write(bytes(1 << 20))
    except OSError as refused:
        return refused
    return None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write text by :func:`atomic_write`; what is no UTF-8, as in odd file names, is escaped."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as unfinished:
        Path(unfinished).write_text(text, 'utf-8', 'backslashreplace')
