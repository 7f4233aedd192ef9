"""Nouns of captions, tagged once beforehand and looked up while training.

``00000.tar`` has ``00000.nouns.arrow``: an Arrow file with the columns key (sorted), nouns and
caption_crc, and in its metadata how they were made. It is memory-mapped, so all loader workers
and processes share the operating system's file cache, however many shards there are.
"""

import json
import logging
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from glob import escape, glob
from typing import NamedTuple

import pyarrow as pa
import torch
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from code_mm.atomic_write import atomic_write
from code_mm.datasets.shards.shard_paths import is_url, shard_name

SUFFIX = '.nouns.arrow'
_METADATA = b'code_mm'
_SCHEMA = pa.schema(dict(key=pa.string(), nouns=pa.list_(pa.string()), caption_crc=pa.uint32()))
_HOW_TO_BUILD = 'run tools/dataset_converters/extract_nouns.py'
_MAX_OPEN = 4096  # files mapped per process; a map takes address space and a few kilobytes
_MAX_WORKERS = 256  # rows of the counts; each loader worker writes its own
_OUTCOMES = ('found', 'missing', 'changed')


class NounSettings(NamedTuple):
    """How the nouns of a file were made.

    Attributes:
        tagger (str | dict): Name or config of the tagger, never 'auto'.
        word_type (str): 'noun' or 'noun_phrase'.
        versions (dict[str, str]): Of the packages that tagged.
        source (list): What tells a changed shard or list from the one that was tagged.
    """

    tagger: str | dict
    word_type: str
    versions: dict[str, str]
    source: list


def nouns_file(source: str, folder: str | None = None) -> str:
    """Path of the nouns file of a shard or list, beside it or in ``folder``.

    Raises:
        ValueError: If it is a URL, and there is no folder.
    """
    if folder is None and is_url(source):
        raise ValueError(
            f"cache='beside' needs shards on this machine's disks, but got {source!r}; give the "
            'folder of the nouns files'
        )
    name = shard_name(source) if folder else source
    return os.path.join(folder or '', os.path.splitext(name)[0] + SUFFIX)


def caption_checksum(caption: str) -> int:
    """CRC-32 of a caption without surrounding blanks: tells when it is another one."""
    return zlib.crc32(caption.strip().encode('utf-8', 'replace'))


def write_nouns(
    file: str,
    keys: Sequence[str],
    nouns: Sequence[list[str]],
    checksums: Sequence[int],
    settings: NounSettings,
) -> None:
    """Write a nouns file; it appears complete or not at all.

    Args:
        file (str): Its path, see :func:`nouns_file`.
        keys (Sequence[str]): Samples' names in their shard, or keys in their list; each once.
        nouns (Sequence[list[str]]): Of each caption.
        checksums (Sequence[int]): Of each caption, see :func:`caption_checksum`.
        settings (NounSettings): How they were made.
    """
    order = sorted(range(len(keys)), key=keys.__getitem__)
    columns = [[column[row] for row in order] for column in (keys, nouns, checksums)]
    schema = _SCHEMA.with_metadata({_METADATA: json.dumps(settings._asdict())})
    batch = pa.record_batch(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema
    )
    with atomic_write(file) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        writer.write_batch(batch)


class NounTable:
    """The nouns of one shard or list.

    Args:
        file (str): Its path.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it is damaged, or not written by :func:`write_nouns`.
    """

    def __init__(self, file: str) -> None:
        try:
            with pa.memory_map(file) as mapped:  # the map stays, the open file does not
                batch = pa.ipc.open_file(mapped).get_batch(0)
            batch.validate(full=True)  # wrong offsets would read beyond the map
            if batch.schema != _SCHEMA:
                raise ValueError(f'its columns are {batch.schema.names}')
            self.settings = NounSettings(**json.loads(batch.schema.metadata[_METADATA]))
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f'{file!r} is damaged or of another program: {error}') from error
        self._keys, self._nouns, self._checksums = batch.columns

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key: str) -> tuple[list[str], int] | None:
        """Nouns and the caption's checksum, or None for an unknown key."""
        row = bisect_left(self._keys, key, key=lambda scalar: scalar.as_py())
        if row == len(self) or self._keys[row].as_py() != key:
            return None
        return self._nouns[row].as_py(), self._checksums[row].as_py()

    def rows(self) -> Iterator[tuple[str, list[str], int]]:
        """Key, nouns and checksum of each sample, in the order of the keys."""
        columns = (self._keys, self._nouns, self._checksums)
        return zip(*(column.to_pylist() for column in columns), strict=True)


class NounCache:
    """Looks nouns up in the files that ``tools/dataset_converters/extract_nouns.py`` wrote.

    A caption that the cache does not hold, or that has changed since (its checksum differs), is
    counted, the first of its kind named in a warning, and left to the caller to tag.

    Args:
        folder (str, optional): Where the files are. Default: beside each shard or list.
        tagger (str | dict, optional): A cache made with another one is an error. Default: any.
        word_type (str, optional): 'noun' or 'noun_phrase'; likewise.
    """

    def __init__(
        self,
        folder: str | None = None,
        tagger: str | dict | None = None,
        word_type: str | None = None,
    ) -> None:
        self.folder = None if folder is None else os.path.expanduser(folder)
        self._wanted = dict(tagger=tagger, word_type=word_type)
        self._tables: dict[str, NounTable | None] = {}
        self._warned: set[str] = set()
        self._counts = torch.zeros(_MAX_WORKERS, 3, dtype=torch.int64).share_memory_()

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_tables': {}}  # not the nouns themselves

    def find(self, source: str, key: str, caption: str) -> list[str] | None:
        """The nouns of one sample, or None (counted) where the cache cannot tell.

        Args:
            source (str): Path or URL of its shard or list; only its name counts with ``folder``.
            key (str): Its name in the shard without extension, or its key in the list.
            caption (str): As it was read; surrounding blanks do not count.

        Raises:
            FileNotFoundError: If the folder holds no nouns file at all.
            ValueError: If the file was made with another tagger or word type.
        """
        table = self._table(source)
        entry = None if table is None else table.find(key)
        if entry is None:
            self._warn('missing', f'{source}/{key} has no nouns')
            return self._count('missing')
        nouns, checksum = entry
        if checksum != caption_checksum(caption):
            self._warn('changed', f'the caption of {source}/{key} is not the one that was tagged')
            return self._count('changed')
        self._count('found')
        return nouns

    def counts(self) -> dict[str, int]:
        """Look-ups so far in all loader workers: ``found``, ``missing``, ``changed``."""
        return dict(zip(_OUTCOMES, self._counts.sum(0).tolist(), strict=True))

    def _table(self, source: str) -> NounTable | None:
        if source not in self._tables:
            while len(self._tables) >= _MAX_OPEN:
                del self._tables[next(iter(self._tables))]
            self._tables[source] = self._open(nouns_file(source, self.folder))
        return self._tables[source]

    def _open(self, file: str) -> NounTable | None:
        try:
            table = NounTable(file)
        except FileNotFoundError as error:
            if not glob(os.path.join(escape(os.path.dirname(file)), f'*{SUFFIX}')):
                raise FileNotFoundError(
                    f'noun cache: expected {file!r} to exist; {_HOW_TO_BUILD}'
                ) from error
            self._warn('no file', f'{file!r} does not exist')
            return None
        except ValueError as error:
            self._warn(file, str(error))
            return None
        for name, wanted in self._wanted.items():
            found = getattr(table.settings, name)
            if wanted is not None and wanted != found:
                raise ValueError(
                    f'noun cache: expected nouns made with {name}={wanted!r}, as LoadNouns has it, '
                    f'but {file!r} was made with {name}={found!r}; set {name}={found!r} in '
                    f'LoadNouns or {_HOW_TO_BUILD} again with --{name.replace("_", "-")} {wanted}'
                )
        return table

    def _count(self, outcome: str) -> None:
        info = get_worker_info()
        row = 0 if info is None else 1 + info.id % (_MAX_WORKERS - 1)
        # a tensor takes ten times as long
        self._counts.numpy()[row, _OUTCOMES.index(outcome)] += 1

    def _warn(self, kind: str, problem: str) -> None:
        if kind in self._warned:
            return
        self._warned.add(kind)
        print_log(
            f'noun cache: {problem}; it is tagged on the fly, like others of this kind (counted, '
            f'not logged). To save that, {_HOW_TO_BUILD}',
            logger='current',
            level=logging.WARNING,
        )
