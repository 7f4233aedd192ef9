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

from code_mm.atomic_write import atomic_write
from code_mm.datasets.sample_ledger import MAX_WORKERS, worker_row
from code_mm.datasets.shards.shard_paths import is_url, shard_name

SUFFIX = '.nouns.arrow'
_METADATA = b'code_mm'
_SCHEMA = pa.schema(dict(key=pa.string(), nouns=pa.list_(pa.string()), caption_crc=pa.uint32()))
_HOW_TO_BUILD = 'run tools/dataset_converters/extract_nouns.py'
_MAX_OPEN = 4096  # files mapped per process; a map takes address space and a few kilobytes
_OUTCOMES = ('found', 'missing', 'changed')


class NounSettings(NamedTuple):
    """How the nouns of a file were made."""

    tagger: str | dict  # name or config, never 'auto'
    word_type: str  # 'noun' or 'noun_phrase'
    source: list  # what tells a changed shard or list from the one that was tagged


def nouns_file(source: str, folder: str | None = None) -> str:
    """Path of the nouns file of a shard or list, beside it or (also for a URL) in ``folder``."""
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
    schema = _SCHEMA.with_metadata({_METADATA: json.dumps(settings._asdict())})
    table = pa.table([keys, nouns, checksums], schema).sort_by('key').combine_chunks()
    with atomic_write(file) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        writer.write_table(table)


class NounTable:
    """The nouns file of one shard or list; ValueError where :func:`write_nouns` wrote another."""

    def __init__(self, file: str) -> None:
        try:
            with pa.memory_map(file) as mapped:  # the map stays, the open file does not
                batch = pa.ipc.open_file(mapped).get_batch(0)
            batch.validate(full=True)  # wrong offsets would read beyond the map
            if batch.schema != _SCHEMA:
                raise ValueError(f'its columns are {batch.schema.names}')
            settings = json.loads(batch.schema.metadata[_METADATA])
            self.settings = NounSettings(*(settings[name] for name in NounSettings._fields))
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
        word_type (str): 'noun' or 'noun_phrase'; likewise.
    """

    def __init__(
        self, folder: str | None = None, tagger: str | dict | None = None, word_type: str = 'noun'
    ) -> None:
        self.folder = None if folder is None else os.path.expanduser(folder)
        self._wanted = dict(tagger=tagger, word_type=word_type)
        self._tables: dict[str, NounTable | None] = {}
        self._warned: set[str] = set()
        self._counts = torch.zeros(MAX_WORKERS, 3, dtype=torch.int64).share_memory_()

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_tables': {}}  # not the nouns themselves

    def find(self, source: str, key: str, caption: str) -> list[str] | None:
        """The nouns of one sample, or None (counted) where the cache cannot tell.

        A folder without any nouns file, and one made with another tagger or word type, is an error.

        Args:
            source (str): Path or URL of its shard or list; only its name counts with ``folder``.
            key (str): Its name in the shard without extension, or its key in the list.
            caption (str): As it was read; surrounding blanks do not count.
        """
        if source not in self._tables:
            if len(self._tables) >= _MAX_OPEN:
                del self._tables[next(iter(self._tables))]
            self._tables[source] = self._open(nouns_file(source, self.folder))
        table = self._tables[source]
        nouns, checksum = (table and table.find(key)) or (None, None)
        outcome = 'found'
        if nouns is None:
            outcome = 'missing'
            self._warn(outcome, f'{source}/{key} has no nouns')
        elif checksum != caption_checksum(caption):
            nouns, outcome = None, 'changed'
            self._warn(outcome, f'the caption of {source}/{key} is not the one that was tagged')
        # each loader worker writes its own row; a tensor takes ten times as long
        self._counts.numpy()[worker_row(), _OUTCOMES.index(outcome)] += 1
        return nouns

    def counts(self) -> dict[str, int]:
        """Look-ups so far in all loader workers: ``found``, ``missing``, ``changed``."""
        return dict(zip(_OUTCOMES, self._counts.sum(0).tolist(), strict=True))

    def _open(self, file: str) -> NounTable | None:
        try:
            table = NounTable(file)
        except (FileNotFoundError, ValueError) as error:
            others = glob(os.path.join(escape(os.path.dirname(file)), f'*{SUFFIX}'))
            if not others:
                raise FileNotFoundError(
                    f'noun cache: expected {file!r} to exist; {_HOW_TO_BUILD}'
                ) from error
            self._warn(file if file in others else 'no file', str(error))
            return None
        for name, wanted in self._wanted.items():
            found = getattr(table.settings, name)
            if wanted not in (None, found):
                raise ValueError(
                    f'noun cache: expected nouns made with {name}={wanted!r}, as LoadNouns has it, '
                    f'but {file!r} was made with {name}={found!r}; set {name}={found!r} in '
                    f'LoadNouns or {_HOW_TO_BUILD} again with --{name.replace("_", "-")} {wanted}'
                )
        return table

    def _warn(self, kind: str, problem: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            print_log(
                f'noun cache: {problem}; it is tagged on the fly, like others of this kind '
                f'(counted, not logged). To save that, {_HOW_TO_BUILD}',
                logger='current',
                level=logging.WARNING,
            )
