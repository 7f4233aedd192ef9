"""Nouns of a shard for random access: the content of its parquet file, row by row."""

import json
import os
import struct
from collections.abc import Callable

import numpy as np

from code_mm.atomic_write import atomic_write
from code_mm.datasets.shards.shard_reader import ShardReader
from code_mm.structures.unusable_sample import UnusableSample

from .noun_table import SUFFIX, NounSettings, read_noun_table

_MAGIC = b'nouns 1\n'
_HEADER = struct.Struct('<8sQQI')  # magic, rows, size of the parquet file, size of the settings
_CHECKSUM = struct.Struct('<?I')  # is there one; CRC-32


def rows_file(nouns_file: str) -> str:
    """Path of the row file of a parquet file of nouns."""
    return nouns_file.removesuffix(SUFFIX) + '.nouns.rows'


def write_noun_rows(nouns_file: str) -> None:
    """Write the row file of a parquet file of nouns; it appears complete or not at all.

    Header, settings as json, offsets of the rows (uint32), rows: checksum, key and nouns
    in UTF-8 with zero bytes between.
    """
    table = read_noun_table(nouns_file)
    settings = json.dumps(table.settings and table.settings._asdict()).encode()
    rows = []
    for key in table.keys_in_order:
        entry = table.entry(key)
        nouns, checksum = entry or ([], None)
        text = '\0'.join([key if entry else '', *nouns]).encode('utf-8', 'replace')
        rows.append(_CHECKSUM.pack(checksum is not None, checksum or 0) + text)
    offsets = np.cumsum([0, *map(len, rows)]).astype('<u4')
    header = _HEADER.pack(_MAGIC, len(rows), os.path.getsize(nouns_file), len(settings))
    with atomic_write(rows_file(nouns_file)) as temporary, open(temporary, 'wb') as stream:
        stream.write(header + settings + offsets.tobytes() + b''.join(rows))


def rows_fit(nouns_file: str) -> bool:
    """Whether a row file is there and was made from the parquet file as it is now."""
    try:
        with open(rows_file(nouns_file), 'rb') as stream:
            magic, _, size, _ = _HEADER.unpack(stream.read(_HEADER.size))
        return magic == _MAGIC and size == os.path.getsize(nouns_file)
    except (OSError, struct.error):
        return False


class NounRows:
    """Reads single rows of many row files through a bounded number of open files.

    Args:
        reader: opens the files.
        check: called with the settings and the name of each file before its first use.
    """

    def __init__(self, reader: ShardReader, check: Callable[[NounSettings | None, str], None]):
        self._reader = reader
        self._check = check
        # by file: number of rows, where their offsets and they themselves begin; None: no use
        self._starts: dict[str, tuple[int, int, int] | None] = {}

    def entry(self, nouns_file: str, key: str, row: int) -> tuple[list[str], int | None] | None:
        """Nouns and checksum of a row, or None where it is not this key's or cannot be read."""
        if nouns_file not in self._starts:
            self._starts[nouns_file] = self._open(nouns_file)
        start = self._starts[nouns_file]
        if start is None or row >= start[0]:
            return None
        _, offsets, rows = start
        file = rows_file(nouns_file)
        try:
            begin, end = struct.unpack('<II', self._reader.read(file, offsets + 4 * row, 8))
            data = self._reader.read(file, rows + begin, end - begin)
        except UnusableSample:  # the file is gone or has shrunk
            self._starts[nouns_file] = None
            return None
        has_checksum, checksum = _CHECKSUM.unpack_from(data)
        found, *nouns = data[_CHECKSUM.size :].decode('utf-8', 'replace').split('\0')
        return (nouns, checksum if has_checksum else None) if found == key else None

    def _open(self, nouns_file: str) -> tuple[int, int, int] | None:
        if not rows_fit(nouns_file):
            return None
        file = rows_file(nouns_file)
        header = self._reader.read(file, 0, _HEADER.size)
        _, count, _, size = _HEADER.unpack(header)
        settings = json.loads(self._reader.read(file, _HEADER.size, size))
        self._check(settings and NounSettings(**settings), nouns_file)
        offsets = _HEADER.size + size
        return count, offsets, offsets + 4 * (count + 1)
