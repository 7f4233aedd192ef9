"""Files that appear complete or not at all, whenever their writer is killed."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from glob import escape, glob

_OLD = 3600.0  # seconds after which another process's unfinished file is litter


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, suffix: str = '') -> Iterator[str]:
    """Give a name to write to, which becomes ``path`` at the end of the block.

    It ends with ``suffix``, by which some writers choose a format.

    Several processes and machines may write the same path, in a folder that exists; the last one
    wins. After an exception nothing is left; what a killed process left the next writer clears.
    """
    path = os.fspath(path)
    temporary = f'{path}.{socket.gethostname()}-{os.getpid()}.partial{suffix}'
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    for litter in glob(f'{escape(path)}.*.partial{suffix}'):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - os.path.getmtime(litter) > _OLD:
                os.unlink(litter)
