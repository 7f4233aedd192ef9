"""Reads byte ranges of many shards through a bounded number of open files."""

import os
from io import FileIO

from code_mm.structures.unusable_sample import UnusableSample

_MAX_OPEN = 64  # files per process


class ShardReader:
    """Random access to shards, safe in forked and spawned loader workers.

    Every read says where it begins (``pread``), so a forked worker may share an open file.
    """

    def __init__(self) -> None:
        self._files: dict[str, FileIO] = {}

    def __reduce__(self) -> tuple:
        return ShardReader, ()  # without the open files

    def read(self, path: str, offset: int, size: int) -> bytes:
        """These bytes of a file; raises UnusableSample where it is gone or has become shorter."""
        try:
            file = self._open(path)
            data = os.pread(file.fileno(), size, offset)
            while len(data) < size and (
                more := os.pread(file.fileno(), size - len(data), offset + len(data))
            ):
                data += more  # a read may give less than is there
        except OSError as error:
            raise UnusableSample('missing_shard', str(error)) from error
        if len(data) != size:
            raise UnusableSample('truncated_shard', f'{path} ends before byte {offset + size}')
        return data

    def _open(self, path: str) -> FileIO:
        file = self._files.pop(path, None) or open(path, 'rb', 0)  # noqa: SIM115 - kept open
        self._files[path] = file  # the last is the one that was used last
        if len(self._files) > _MAX_OPEN:
            self._files.pop(next(iter(self._files))).close()
        return file
