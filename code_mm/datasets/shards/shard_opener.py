"""Opens a tar shard for reading from begin to end, wherever it is."""

import bz2
import gzip
import io
import lzma
import os
import select
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module

from webdataset.gopen import Pipe, gopen, gopen_schemes

from .shard_paths import is_url

_CHUNK = 2**20  # bytes
_BUFFER = 2**16  # bytes
# A compressed shard that grows beyond both is no shard: images and captions do not shrink so far.
_MOST_UNPACKED = 2**24  # bytes
_MOST_GROWTH = 100
_DECOMPRESSORS = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ': lzma.open}


def open_shard(shard: str, timeout: float | None = None) -> io.BufferedReader:
    """Open a shard; it is read as it comes and never stored.

    Local files are opened as such, what webdataset has a reader for (``http(s)://`` by curl,
    ``pipe:`` any command, ``gs://``, ``hf://``) by webdataset, everything else
    (``s3://``, ``gcs://``, ``hdfs://``) by fsspec. gzip, bzip2 and xz are unpacked on the way.

    Args:
        shard (str): Path or URL.
        timeout (float, optional): Seconds without a byte after which a pipe or download is given
            up. A file on a network file system cannot be interrupted, and fsspec has limits of
            its own.

    Raises:
        OSError: The shard is not there or cannot be read.
    """
    file = _open(shard, timeout)
    head = file.peek(6)
    for start, decompressor in _DECOMPRESSORS.items():
        if head.startswith(start):
            return _forward(_bounded(decompressor(file), file), file.close)
    return file


def check_can_open(shard: str) -> None:
    """Find out before the run whether there is something to read this kind of URL.

    Raises:
        ImportError: fsspec, or its part for this kind of URL, is not installed.
    """
    scheme = shard.partition(':')[0]
    if scheme in ('http', 'https') and shutil.which('curl') is None:
        raise ImportError(f'expected the program curl to read {shard}, but found none; install it')
    if scheme in (*gopen_schemes, 'file'):
        return
    try:
        import_module('fsspec').get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:  # ValueError: a protocol that fsspec does not know
        packages = 'fsspec s3fs' if scheme == 's3' else 'fsspec and its part for this protocol'
        raise ImportError(
            f'expected to read {scheme}:// shards with fsspec, but: {error}; pip install {packages}'
        ) from error


def _open(shard: str, timeout: float | None) -> io.BufferedReader:
    if not is_url(shard):
        return open(shard, 'rb')
    if shard.partition(':')[0] in (*gopen_schemes, 'file'):
        stream = gopen(shard)
        if not isinstance(stream, Pipe):
            return stream
        pipe = _TimedPipe(stream, timeout)
        return _forward(pipe.read, pipe.close)
    fsspec = import_module('fsspec')  # not required, as few need it
    file = _as_os_error(lambda: fsspec.open(shard, 'rb').open())
    return _forward(lambda size: _as_os_error(lambda: file.read(size)), file.close)


def _as_os_error(call: Callable):
    try:
        return call()
    except (OSError, ImportError):
        raise
    except Exception as error:  # each store's client has exceptions of its own
        raise OSError(f'{type(error).__name__}: {error}') from error


class _TimedPipe:
    """The output of a command, with a limit to the time without a byte.

    Args:
        pipe (Pipe): Of webdataset, which waits for ever.
        timeout (float, optional): Seconds.
    """

    def __init__(self, pipe: Pipe, timeout: float | None) -> None:
        self._pipe = pipe
        self._timeout = timeout
        self._poll = select.poll()
        self._poll.register(pipe.stream.fileno(), select.POLLIN)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; b'' at the end.

        Raises:
            TimeoutError: Nothing came in time; the command has been killed.
            OSError: The command failed.
        """
        if not self._poll.poll(None if self._timeout is None else 1000 * self._timeout):
            self.close()
            raise TimeoutError(f'no data for {self._timeout:g} s')
        # past the stream's buffer, which poll does not know
        data = os.read(self._pipe.stream.fileno(), min(size, _CHUNK))
        if not data:
            try:
                self._pipe.proc.wait(self._timeout)
            except subprocess.TimeoutExpired:
                self.close()
                raise TimeoutError(f'no end of the command for {self._timeout:g} s') from None
            self._pipe.wait_for_child()
        return data

    def close(self) -> None:
        """Stop the command, which may be waiting for us or for the net."""
        if self._pipe.proc.poll() is None:
            self._pipe.proc.kill()
        self._pipe.stream.close()
        self._pipe.proc.wait()


def _bounded(unpacked: io.BufferedIOBase, packed: io.BufferedReader) -> Callable[[int], bytes]:
    """Read on, until there is so much that the input must be a trap (ValueError).

    By ``read1``, as ``read`` keeps what it has when the input ends too early.
    """
    size = 0

    def read(limit: int) -> bytes:
        nonlocal size
        data = unpacked.read1(min(limit, _CHUNK))
        size += len(data)
        if size > max(_MOST_UNPACKED, _MOST_GROWTH * packed.tell()):
            raise ValueError(f'{packed.tell()} compressed bytes grew to more than {size}: no shard')
        return data

    return read


def _forward(read: Callable[[int], bytes], close: Callable[[], None]) -> io.BufferedReader:
    return io.BufferedReader(ForwardFile(read, close), _BUFFER)


class ForwardFile(io.RawIOBase):
    """A raw file out of something that can only be read on: it knows its place and skips ahead.

    Args:
        read (Callable): Up to so many bytes; b'' at the end.
        close (Callable): Called once.
    """

    def __init__(self, read: Callable[[int], bytes], close: Callable[[], None]) -> None:
        self._read = read
        self._close = close
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._read(len(buffer))
        # a few bytes at least, so that peek shows what kind of file this is
        while 0 < len(data) < min(8, len(buffer)) and (more := self._read(len(buffer) - len(data))):
            data += more
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Skip to a place, or to the end where that is nearer.

        Raises:
            OSError: It lies behind.
        """
        target = offset + (self._position if whence == os.SEEK_CUR else 0)
        if whence == os.SEEK_END or target < self._position:
            raise OSError(f'cannot go from byte {self._position} to {offset} of a stream')
        chunk = memoryview(bytearray(_BUFFER))
        while self._position < target:
            if not self.readinto(chunk[: target - self._position]):
                break
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()
