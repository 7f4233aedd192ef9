"""Tags the captions of shards and lists once and writes their nouns files."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from typing import NamedTuple

from code_mm.datasets.captions.caption_rows import read_rows
from code_mm.datasets.captions.sample import decode_caption, parse_fields
from code_mm.datasets.sample_ledger import Skip
from code_mm.datasets.shards.shard_index import ShardLayout
from code_mm.datasets.shards.shard_index_cache import load_or_scan
from code_mm.datasets.shards.shard_reader import ShardReader
from code_mm.nouns.noun_rows import rows_file, rows_fit, write_noun_rows
from code_mm.nouns.noun_selector import NounSelector
from code_mm.nouns.noun_table import (
    SUFFIX,
    NounSettings,
    caption_checksum,
    nouns_file,
    read_noun_table,
    read_settings,
    write_noun_table,
)
from code_mm.nouns.taggers import NLTKTagger, build_tagger
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.version import __version__

_ROWS_PER_PART = 20_000  # of a list: what a killed run loses per process


class Tagged(NamedTuple):
    """What was done to a source.

    Attributes:
        captions: how many were tagged.
        without_nouns: how many of them name nothing.
        unreadable: samples whose caption could not be read.
        seconds: CPU time of tagging, reading and writing.
    """

    captions: int
    without_nouns: int
    unreadable: int
    seconds: float


class ListPart(NamedTuple):
    """Some rows of a list: where they go, and (sample key, caption) of each."""

    file: str
    rows: list[tuple[str, str]]
    settings: NounSettings


@dataclass(frozen=True)
class NounExtraction:
    """Writes ``00000.nouns.parquet`` for ``00000.tar`` and ``a.nouns.parquet`` for ``a.csv``.

    Files appear complete or not at all; one that is up to date, or that another program made,
    is not made again.

    Args:
        folder: where the files go; None: beside the shards and lists.
        tagger: 'auto', 'nltk' or 'textblob'.
        word_type: 'noun' or 'noun_phrase'.
        layout: which members of a shard are images, captions and json.
        caption_field: the json field that holds the caption.
        index_dir: where the shards' indices are kept, see ``index_shards``.
    """

    folder: str | None = None
    tagger: str = 'auto'
    word_type: str = 'noun'
    layout: ShardLayout = ShardLayout()  # noqa: RUF009 - a tuple
    caption_field: str | None = None
    index_dir: str | None = None

    def settings(self, source: str, *more: object) -> NounSettings:
        """What an up-to-date file of ``source`` says about its making."""
        state = os.stat(source)
        is_nltk = isinstance(build_tagger(self.tagger), NLTKTagger)
        tagger = 'nltk' if is_nltk else 'textblob'
        versions = {'code_mm': __version__, tagger: metadata.version(tagger)}
        stamp = [state.st_size, state.st_mtime_ns, self.layout.caption, self.caption_field, *more]
        stamp = json.loads(json.dumps(stamp))  # as it will be read back
        return NounSettings(tagger, self.word_type, versions, stamp)

    def is_done(self, shard: str) -> bool:
        """Whether the nouns files of ``shard`` are there and up to date."""
        file = nouns_file(shard, self.folder)
        return rows_fit(file) and _holds(file, self.settings(shard))

    def is_list_done(self, path: str, caption_key: str, columns: Sequence[str] | None) -> bool:
        """Whether the nouns file of a list is there and up to date."""
        return _holds(nouns_file(path, self.folder), self.settings(path, caption_key, columns))

    def tag_shard(self, path: str) -> Tagged:
        """Tag all captions of a shard; images are not read."""
        start = time.process_time()
        file, settings = nouns_file(path, self.folder), self.settings(path)
        result = Tagged(0, 0, 0, 0.0)
        if not _holds(file, settings):  # else: killed between the two files
            with contextlib.suppress(FileNotFoundError):
                os.unlink(rows_file(file))  # it must not outlive what it was made from
            index = load_or_scan(path, self.layout, self.index_dir)
            captions = list(self._captions(path, index.places))
            result = self._write(file, [key.decode() for key in index.keys], captions, settings)
        write_noun_rows(file)
        return result._replace(seconds=time.process_time() - start)

    def _captions(self, path: str, places: Sequence) -> Iterator[str | None]:
        reader = ShardReader(1)
        for _, caption_range, fields_range in places.tolist():
            try:
                if self.caption_field:
                    fields = parse_fields(reader.read(path, *fields_range))
                    caption = fields.get(self.caption_field)
                    yield caption if isinstance(caption, str) else None
                else:
                    yield decode_caption(reader.read(path, *caption_range))
            except UnusableSample:
                yield None

    def _write(
        self, file: str, keys: list[str], captions: list[str | None], settings: NounSettings
    ) -> Tagged:
        select = NounSelector(self.tagger, self.word_type)
        start = time.process_time()
        texts = [(caption or '').strip() for caption in captions]
        nouns = [select(text) for text in texts]
        write_noun_table(file, keys, nouns, [caption_checksum(text) for text in texts], settings)
        seconds = time.process_time() - start
        return Tagged(len(keys), nouns.count([]), captions.count(None), seconds)

    def list_parts(
        self, path: str, caption_key: str, columns: Sequence[str] | None, skips: list[Skip]
    ) -> Iterator[ListPart]:
        """The rows of a list in parts that ``tag_part`` tags; then call ``join_parts``."""
        os.makedirs(_parts_folder(path, self.folder), exist_ok=True)
        name = os.path.basename(path)
        rows = (
            (f'{name}:{line}', row[caption_key])
            for line, row in read_rows(path, (caption_key,), columns, skips)
            if isinstance(row.get(caption_key), str)
        )
        settings, number = self.settings(path, caption_key, columns), 0
        while part := list(islice(rows, _ROWS_PER_PART)):
            file = os.path.join(_parts_folder(path, self.folder), f'{number:06d}{SUFFIX}')
            yield ListPart(file, part, settings)
            number += 1

    def tag_part(self, part: ListPart) -> Tagged:
        """Tag some rows of a list, unless an earlier run did."""
        if _holds(part.file, part.settings):
            return Tagged(0, 0, 0, 0.0)
        keys, captions = zip(*part.rows, strict=True)
        return self._write(part.file, list(keys), list(captions), part.settings)

    def join_parts(self, path: str, parts: int) -> str:
        """Make one nouns file of a list's parts; returns its path."""
        folder = _parts_folder(path, self.folder)
        files = [os.path.join(folder, f'{number:06d}{SUFFIX}') for number in range(parts)]
        tables = [read_noun_table(file) for file in files]
        keys = [key for table in tables for key in table]
        entries = [table.entry(key) for table in tables for key in table]
        nouns, checksums = ([entry[i] for entry in entries] for i in (0, 1))
        target = nouns_file(path, self.folder)
        write_noun_table(target, keys, nouns, checksums, tables[0].settings)
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
        return target


def _parts_folder(path: str, folder: str | None) -> str:
    return nouns_file(path, folder).removesuffix('.parquet') + '.parts'


def _holds(file: str, settings: NounSettings) -> bool:
    """Whether a complete file made with these settings is there."""
    try:
        found = read_settings(file)
    except (OSError, ValueError):
        return False
    # Nouns that a user brought along (no settings) are kept. Versions are for the record: a
    # new release of a package does not spoil 12 million tags.
    return found is None or found._replace(versions={}) == settings._replace(versions={})
