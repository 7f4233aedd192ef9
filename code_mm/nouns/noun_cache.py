"""Nouns of captions, tagged once beforehand and looked up while training."""

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import torch
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from code_mm.datasets.shards.shard_reader import ShardReader

from .noun_rows import NounRows, rows_file, rows_fit
from .noun_table import (
    NounSettings,
    NounTable,
    caption_checksum,
    nouns_file,
    read_noun_table,
    read_settings,
)

_FOUND, _MISSING, _CHANGED = range(3)
_MAX_WORKERS = 256  # rows of the counts; each loader worker writes its own
_HOW_TO_BUILD = 'run tools/dataset_converters/extract_nouns.py'


class NounCache:
    """Looks nouns up in the files that ``tools/dataset_converters/extract_nouns.py`` wrote.

    A caption that the cache does not hold, or that has changed since (its checksum
    differs), gives None, is counted and has to be tagged by the caller.

    Random access (with ``row``) reads a few bytes of the shard's ``.nouns.rows`` file and
    keeps nothing in memory, however many shards there are; any number of workers and
    processes share the operating system's file cache. Without ``row`` a shard's nouns are
    loaded as a whole (about 1 MB per 10 000 captions), the last ``max_shards`` are kept.

    Args:
        folder: where the files are; None: beside each shard or list.
        tagger: what ``SelectNouns`` asks for; a cache made with another one is an error.
            'auto' takes any, None does not compare.
        word_type: 'noun' or 'noun_phrase'; None does not compare.
        max_shards: shards whose nouns are kept in memory per process.
        max_open: files kept open per process.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
        tagger: str | None = None,
        word_type: str | None = None,
        max_shards: int = 4,
        max_open: int = 64,
    ) -> None:
        self.folder = None if folder is None else os.path.expanduser(folder)
        self.tagger = tagger
        self.word_type = word_type
        self.max_shards = max_shards
        self._tables: OrderedDict[str, NounTable] = OrderedDict()
        self._rows = NounRows(ShardReader(max_open), self._check)
        self._nothing = NounTable.empty()
        self._warned = False
        self._counts = torch.zeros(_MAX_WORKERS, 3, dtype=torch.int64).share_memory_()

    def file_of(self, source: str) -> str:
        """The parquet file of a shard or list: ``00000.tar`` has ``00000.nouns.parquet``."""
        return nouns_file(source, self.folder)

    def check(self, sources: Iterable[str], rows_wanted: bool = False) -> list[str]:
        """Say now, not in mid-run, what is wrong: returns the sources without a file, warns.

        Args:
            sources: paths or URLs of shards or lists.
            rows_wanted: nouns will be looked up at random, by ``row``.

        Raises:
            FileNotFoundError: no source has a file.
            ValueError: the first one was made with other settings than ``SelectNouns`` has.
        """
        sources = list(sources)
        if not sources:
            return []
        missing = [source for source in sources if not os.path.isfile(self.file_of(source))]
        if len(missing) == len(sources):
            raise FileNotFoundError(
                f'noun_cache: expected {self.file_of(sources[0])!r} to exist; {_HOW_TO_BUILD}'
            )
        if missing:
            print_log(
                f'noun_cache: {len(missing)} of {len(sources)} shards have no nouns file, the '
                f'first is {missing[0]}; their captions are tagged on the fly. To save that, '
                f'{_HOW_TO_BUILD}',
                logger='current',
                level=logging.WARNING,
            )
        first = next(file for file in map(self.file_of, sources) if os.path.isfile(file))
        self._check(read_settings(first), first)
        if rows_wanted and not rows_fit(first):
            print_log(
                f'noun_cache: {rows_file(first)!r}, for random access, is missing or older than '
                f'the parquet file; looking nouns up will be slow. To make it, {_HOW_TO_BUILD}, '
                'which tags nothing again',
                logger='current',
                level=logging.WARNING,
            )
        return missing

    def nouns_of_shard(self, source: str) -> Mapping[str, list[str]]:
        """All nouns of a shard (or list) by sample key, in the shard's order.

        Empty where there is no file; ``find`` also counts and compares the captions.

        Args:
            source: path or URL of the shard; only its name counts where ``folder`` is given.
        """
        return self._table(source)

    def find(self, source: str, key: str, caption: str, row: int | None = None) -> list[str] | None:
        """The nouns of one sample, or None (counted) where the cache cannot tell.

        Args:
            source: path or URL of its shard or list.
            key: its name in the shard without extension, or its key in the list.
            caption: as read from the shard, surrounding blanks do not count.
            row: its position in the shard's index, for random access.
        """
        entry = None if row is None else self._rows.entry(self.file_of(source), key, row)
        if entry is None:
            entry = self._table(source).entry(key)
        if entry is None:
            return self._count(_MISSING)
        nouns, checksum = entry
        if checksum is not None and checksum != caption_checksum(caption):
            self._warn(source, key)
            return self._count(_CHANGED)
        self._count(_FOUND)
        return nouns

    def counts(self) -> dict[str, int]:
        """Look-ups so far in all loader workers: ``found``, ``missing``, ``changed``."""
        total = self._counts.sum(0).tolist()
        return dict(zip(('found', 'missing', 'changed'), total, strict=True))

    def _table(self, source: str) -> NounTable:
        if source not in self._tables:
            file = self.file_of(source)
            if not os.path.isfile(file):
                return self._nothing
            table = read_noun_table(file)
            self._check(table.settings, file)
            while len(self._tables) >= self.max_shards:
                self._tables.popitem(last=False)
            self._tables[source] = table
        self._tables.move_to_end(source)
        return self._tables[source]

    def _check(self, made_by: NounSettings | None, file: str) -> None:
        if made_by is None:  # written by something else than our tool
            return
        wanted = dict(
            tagger=None if self.tagger == 'auto' else self.tagger, word_type=self.word_type
        )
        for name, value in wanted.items():
            found = getattr(made_by, name)
            if value is not None and value != found:
                raise ValueError(
                    f'noun_cache: expected nouns made with {name}={value!r}, as SelectNouns has '
                    f'it, but {file!r} was made with {name}={found!r}; set {name}={found!r} in '
                    f'SelectNouns or {_HOW_TO_BUILD} again with --{name.replace("_", "-")} {value}'
                )

    def _count(self, outcome: int) -> None:
        info = get_worker_info()
        row = 0 if info is None else 1 + info.id % (_MAX_WORKERS - 1)
        self._counts.numpy()[row, outcome] += 1  # a tensor takes ten times as long

    def _warn(self, source: str, key: str) -> None:
        if not self._warned:
            self._warned = True
            print_log(
                f'noun_cache: the caption of {source}/{key} is not the one that was tagged; it '
                f'is tagged on the fly, like others of this kind (counted, not logged). To save '
                f'that, {_HOW_TO_BUILD} again',
                logger='current',
                level=logging.WARNING,
            )


def open_noun_cache(noun_cache: str | None, transforms: Iterable) -> NounCache | None:
    """The cache that a dataset's key ``noun_cache`` names.

    Args:
        noun_cache: None: none; 'beside': files beside the shards or list; else their folder.
        transforms: of the dataset's pipeline; the cache must fit the ``SelectNouns`` among
            them.
    """
    if noun_cache is None:
        return None
    select = next((t for t in transforms if hasattr(t, 'num_nouns') and hasattr(t, 'tagger')), None)
    return NounCache(
        None if noun_cache == 'beside' else noun_cache,
        tagger=getattr(select, 'tagger', None),
        word_type=getattr(select, 'word_type', None),
    )
