"""The nouns of one shard or list as a parquet file: columns key, nouns, caption_crc."""

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from code_mm.atomic_write import atomic_write

_METADATA = b'code_mm'
SUFFIX = '.nouns.parquet'


class NounSettings(NamedTuple):
    """How the nouns of a file were made.

    Attributes:
        tagger: 'nltk' or 'textblob', never 'auto'.
        word_type: 'noun' or 'noun_phrase'.
        versions: of the packages that tagged.
        source: what tells a changed shard or list from the one that was tagged.
    """

    tagger: str
    word_type: str
    versions: dict[str, str]
    source: list


def nouns_file(source: str, folder: str | None = None) -> str:
    """Path of the nouns file of a shard or list, beside it or in ``folder``.

    Raises:
        ValueError: a URL without a folder.
    """
    if folder is None and ('://' in source or source.startswith('pipe:')):
        raise ValueError(
            f"noun_cache='beside' needs shards on this machine's disks, but got {source!r}; give "
            'the folder of the nouns files'
        )
    name = source.split('?')[0].rstrip('/').rpartition('/')[2] if folder else source
    return os.path.join(folder or '', os.path.splitext(name)[0] + SUFFIX)


def caption_checksum(caption: str) -> int:
    """CRC-32 of a caption without surrounding blanks: tells when it is another one."""
    return zlib.crc32(caption.strip().encode('utf-8', 'replace'))


class NounTable(Mapping):
    """Nouns by sample key, in the file's order.

    Args:
        table: columns ``key``, ``nouns`` (list of strings) and, optionally, ``caption_crc``.
        settings: how it was made; None where our tool did not make it.
    """

    def __init__(self, table: pa.Table, settings: NounSettings | None = None) -> None:
        table = table.combine_chunks()
        self.settings = settings
        self.keys_in_order: list[str] = table['key'].to_pylist()
        self._nouns = table['nouns'].combine_chunks()
        self._checksums = (
            table['caption_crc'].to_numpy() if 'caption_crc' in table.column_names else None
        )
        self._row_of = {key: row for row, key in enumerate(self.keys_in_order)}

    @classmethod
    def empty(cls) -> 'NounTable':
        """A table of nothing."""
        return cls(_arrow_table([], [], []))

    def entry(self, key: str) -> tuple[list[str], int | None] | None:
        """Nouns and the caption's checksum (None: not kept), or None for an unknown key."""
        row = self._row_of.get(key)
        if row is None:
            return None
        nouns = self._nouns[row].as_py()
        if nouns is None:
            return None
        return nouns, None if self._checksums is None else int(self._checksums[row])

    def __getitem__(self, key: str) -> list[str]:
        return self._nouns[self._row_of[key]].as_py() or []

    def __iter__(self) -> Iterator[str]:
        return iter(self._row_of)

    def __len__(self) -> int:
        return len(self._row_of)


def _arrow_table(keys: Sequence, nouns: Sequence, checksums: Sequence) -> pa.Table:
    return pa.table(
        dict(
            key=pa.array(keys, pa.string()),
            nouns=pa.array(nouns, pa.list_(pa.string())),
            caption_crc=pa.array(np.asarray(checksums, np.uint32), pa.uint32()),
        )
    )


def write_noun_table(
    file: str,
    keys: Sequence[str],
    nouns: Sequence[list[str]],
    checksums: Sequence[int],
    settings: NounSettings,
) -> None:
    """Write a nouns file; it appears complete or not at all."""
    table = _arrow_table(keys, nouns, checksums)
    metadata = {_METADATA: json.dumps(settings._asdict())}
    with atomic_write(file) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, compression='zstd')


def read_settings(file: str) -> NounSettings | None:
    """How a nouns file was made; None where our tool did not write it.

    Raises:
        ValueError: no parquet file, or without the columns ``key`` and ``nouns``.
    """
    return _settings(_schema(file))


def _settings(schema: pa.Schema) -> NounSettings | None:
    text = (schema.metadata or {}).get(_METADATA)
    return None if text is None else NounSettings(**json.loads(text))


def _schema(file: str) -> pa.Schema:
    try:
        schema = pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f'expected {file!r} to be a parquet file, but: {error}') from error
    nouns = schema.field('nouns').type if 'nouns' in schema.names else pa.null()
    is_list = pa.types.is_list(nouns) or pa.types.is_large_list(nouns)
    if 'key' not in schema.names or not is_list:
        raise ValueError(
            f'expected {file!r} to have columns key and nouns (lists of strings), but got '
            f'{schema.names}'
        )
    return schema


def read_noun_table(file: str) -> NounTable:
    """Read a nouns file, ours or any parquet file with the columns ``key`` and ``nouns``.

    Raises:
        ValueError: no parquet file, or without these columns.
    """
    schema = _schema(file)
    columns = [name for name in ('key', 'nouns', 'caption_crc') if name in schema.names]
    return NounTable(pq.ParquetFile(file).read(columns), _settings(schema))
