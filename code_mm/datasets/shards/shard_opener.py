"""Opens a tar shard for reading from begin to end, wherever it is."""

import bz2
import contextlib
import gzip
import lzma
import os
import select
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module
from typing import BinaryIO

from webdataset.gopen import Pipe, gopen, gopen_schemes

from .shard_urls import is_url

_CHUNK = 2**20  # bytes
# A compressed shard that grows beyond both is no shard: images and captions do not shrink so far.
_MOST_UNPACKED = 2**24  # bytes
_MOST_GROWTH = 100
_DECOMPRESSORS = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ': lzma.open}


def open_shard(shard: str, timeout: float | None = None) -> 'BinaryIO | ForwardFile':
    """Open a shard; it is read as it comes and never stored.

    Local files are opened as such, what webdataset has a reader for (``http(s)://`` by curl,
    ``pipe:`` any command, ``gs://``, ``hf://``) by webdataset, everything else
    (``s3://``, ``gcs://``, ``hdfs://``) by fsspec. gzip, bzip2 and xz are unpacked on the way.

    Args:
        shard: path or URL.
        timeout: seconds without a byte after which a pipe or download is given up. A
            file on a network file system cannot be interrupted, and fsspec has limits
            of its own.

    Raises:
        OSError: the shard is not there or cannot be read.
    """
    raw = _open(shard, timeout)
    file = raw if hasattr(raw, 'peek') else ForwardFile(raw)
    head = file.peek(6)[:6]
    for start, decompressor in _DECOMPRESSORS.items():
        if head.startswith(start):
            return ForwardFile(Unpacked(decompressor(file), file), file)
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


def _open(shard: str, timeout: float | None):
    if not is_url(shard):
        return open(shard, 'rb')
    if shard.partition(':')[0] in (*gopen_schemes, 'file'):
        stream = gopen(shard)
        return TimedPipe(stream, timeout) if isinstance(stream, Pipe) else stream
    return StoredObject(shard)


class StoredObject:
    """A file in a store that fsspec reads; whatever error its client has is an OSError."""

    def __init__(self, url: str) -> None:
        fsspec = import_module('fsspec')  # not required, as few need it
        self._file = _as_os_error(lambda: fsspec.open(url, 'rb').open())

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; b'' at the end."""
        return _as_os_error(lambda: self._file.read(size))

    def close(self) -> None:
        self._file.close()


def _as_os_error(call: Callable):
    try:
        return call()
    except (OSError, ImportError):
        raise
    except Exception as error:  # each store's client has exceptions of its own
        raise OSError(f'{type(error).__name__}: {error}') from error


class TimedPipe:
    """The output of a command, with a limit to the time without a byte.

    Args:
        pipe: of webdataset.
        timeout: seconds; None: wait for ever.
    """

    def __init__(self, pipe: Pipe, timeout: float | None) -> None:
        self._pipe = pipe
        self._timeout = timeout
        self._poll = select.poll()
        self._poll.register(pipe.stream.fileno(), select.POLLIN)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; b'' at the end.

        Raises:
            TimeoutError: nothing came in time; the command has been killed.
            OSError: the command failed.
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


class Unpacked:
    """What a decompressor gives, until it gives so much that its input must be a trap.

    Args:
        decompressor: file-like.
        packed: what it reads from, with ``tell``.
    """

    def __init__(self, decompressor, packed: 'ForwardFile') -> None:
        self._decompressor = decompressor
        self._packed = packed
        self._size = 0
        self.close = decompressor.close

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; b'' at the end.

        Raises:
            ValueError: more than 16 MiB have become more than a hundred times what was read.
        """
        data = self._decompressor.read(min(size, _CHUNK))
        self._size += len(data)
        if self._size > max(_MOST_UNPACKED, _MOST_GROWTH * self._packed.tell()):
            raise ValueError(
                f'{self._packed.tell()} compressed bytes grew to more than {self._size}: no shard'
            )
        return data


class ForwardFile:
    """A file out of something that can only be read on: it knows its place and skips ahead.

    Args:
        source: has ``read`` and ``close``.
        *below: closed with it.
    """

    def __init__(self, source, *below) -> None:
        self._sources = (source, *below)
        self._read = source.read
        self._head = b''  # read by peek
        self._position = 0

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay to be read; b'' at the end."""
        while len(self._head) < size and (data := self._read(size - len(self._head))):
            self._head += data
        return self._head

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        parts, missing = [], size
        while missing > 0:
            data, self._head = self._head[:missing], self._head[missing:]
            data = data or self._read(missing)
            if not data:
                break
            parts.append(data)
            missing -= len(data)
        self._position += size - missing
        return b''.join(parts)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        """Skip to ``position``, or to the end where that is nearer.

        Raises:
            OSError: it lies behind.
        """
        if position < self._position:
            raise OSError(f'cannot go back from byte {self._position} to {position} of a stream')
        while self._position < position:
            if not self.read(min(position - self._position, _CHUNK)):
                break
        return self._position

    def close(self) -> None:
        for source in self._sources:
            with contextlib.suppress(OSError):
                source.close()
