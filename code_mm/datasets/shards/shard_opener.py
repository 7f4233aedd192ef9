"""Opens a tar shard for reading from begin to end, wherever it is."""

import bz2
import gzip
import io
import lzma
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib import import_module

from webdataset.gopen import Pipe, gopen, gopen_schemes

from .shard_paths import is_url

_CHUNK = 2**20  # bytes
_BUFFER = 2**16  # bytes
# A compressed shard that grows beyond both is no shard: images and captions do not shrink so far.
_MOST_UNPACKED = 2**24  # bytes
_MOST_GROWTH = 100
# What comes through a pipe or from the net: bytes, and bytes per second of waiting.
_MOST_BYTES = 2**36
_LEAST_SPEED = 2**12
_DECOMPRESSORS = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ': lzma.open}


def open_shard(shard: str, timeout: float | None = None) -> io.BufferedReader:
    """Open a shard; it is read as it comes and never stored.

    What webdataset has a reader for (``http(s)://`` by curl, ``pipe:`` any command, ``gs://``,
    ``hf://``) is opened by it, other URLs (``s3://``, ``gcs://``, ``hdfs://``) by fsspec. gzip,
    bzip2 and xz are unpacked on the way.

    Args:
        shard (str): Path or URL.
        timeout (float, optional): Seconds without a byte after which a pipe or download is given
            up; so is one of less than 4 kB per second more, and of more than 64 GiB. fsspec has
            limits of its own.

    Raises:
        OSError: The shard is not there or cannot be read.
    """
    file = _open(shard, timeout)
    try:
        head = file.peek(6)
    except OSError:
        file.close()
        raise
    for start, decompressor in _DECOMPRESSORS.items():
        if head.startswith(start):
            return forward_file(_bounded(decompressor(file), file), file.close)
    return file


def check_can_open(shard: str) -> None:
    """Raise ImportError, before the run, where nothing here reads this kind of URL."""
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
        return _timed_pipe(stream, timeout) if isinstance(stream, Pipe) else stream
    fsspec = import_module('fsspec')  # not required, as few need it
    file = _as_os_error(lambda: fsspec.open(shard, 'rb').open())
    return forward_file(lambda size: _as_os_error(lambda: file.read(size)), file.close)


def _as_os_error(call: Callable):
    try:
        return call()
    except (OSError, ImportError):
        raise
    except Exception as error:  # each store's client has exceptions of its own
        raise OSError(f'{type(error).__name__}: {error}') from error


def _timed_pipe(pipe: Pipe, timeout: float | None) -> io.BufferedReader:
    """A pipe of webdataset, which would wait for ever, with a limit to the time without a byte."""
    descriptor, poll = pipe.stream.fileno(), select.poll()
    poll.register(descriptor, select.POLLIN)
    waited = received = 0

    def read(size: int) -> bytes:
        nonlocal waited, received
        start = time.monotonic()
        if not poll.poll(None if timeout is None else 1000 * timeout):
            raise TimeoutError(f'no data for {timeout:g} s')
        waited += time.monotonic() - start
        if timeout is not None and waited > timeout + received / _LEAST_SPEED:
            raise TimeoutError(f'only {received} bytes in {waited:.0f} s')
        if received > _MOST_BYTES:
            raise OSError(f'more than {_MOST_BYTES} bytes: no shard')
        # past the stream's buffer, which poll does not know
        if data := os.read(descriptor, min(size, _CHUNK)):
            received += len(data)
            return data
        try:
            pipe.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f'no end of the command for {timeout:g} s') from None
        pipe.wait_for_child()  # OSError where the command failed
        return b''

    def close() -> None:
        pipe.proc.kill()  # it may be waiting for us or for the net
        pipe.stream.close()
        pipe.proc.wait()

    return forward_file(read, close)


def _bounded(unpacked: io.BufferedIOBase, packed: io.BufferedReader) -> Callable[[int], bytes]:
    """Read on, until there is so much that the input must be a trap (ValueError)."""
    size = 0

    def read(limit: int) -> bytes:
        nonlocal size
        data = unpacked.read1(min(limit, _CHUNK))  # read keeps what it has when the input is cut
        size += len(data)
        if size > max(_MOST_UNPACKED, _MOST_GROWTH * packed.tell()):
            raise ValueError(f'{packed.tell()} compressed bytes grew to more than {size}: no shard')
        return data

    return read


def forward_file(read: Callable[[int], bytes], close: Callable[[], None]) -> io.BufferedReader:
    """A file out of what gives up to so many next bytes; it knows its place and skips ahead."""
    return io.BufferedReader(_ForwardFile(read, close), _BUFFER)


class _ForwardFile(io.RawIOBase):
    def __init__(self, read: Callable[[int], bytes], close: Callable[[], None]) -> None:
        self._read, self._close, self._position = read, close, 0

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
        """Skip ahead to a place, or to the end where that is nearer."""
        target = offset + (self._position if whence == os.SEEK_CUR else 0)
        if whence == os.SEEK_END or target < self._position:
            raise OSError(f'cannot go from byte {self._position} to {offset} of a stream')
        chunk = memoryview(bytearray(_BUFFER))
        while self._position < target and self.readinto(chunk[: target - self._position]):
            pass
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()
