"""Tags the captions of shards and lists once and writes their nouns files."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from code_mm.datasets.captions.caption_list import read_rows
from code_mm.datasets.captions.sample import decode_caption, parse_fields, valid_text
from code_mm.datasets.sample_ledger import Skip, count_by_reason
from code_mm.datasets.shards.shard_index import ShardLayout, load_or_scan
from code_mm.datasets.shards.shard_reader import ShardReader
from code_mm.nouns.noun_cache import (
    SUFFIX,
    NounSettings,
    NounTable,
    caption_checksum,
    nouns_file,
    write_nouns,
)
from code_mm.nouns.noun_selector import NounSelector
from code_mm.nouns.taggers import settled_tagger
from code_mm.structures.unusable_sample import UnusableSample

_ROWS_PER_PART = 20_000  # of a list: what a killed run loses per process


class Tagged(NamedTuple):
    """How many captions of a source were tagged, and what came of it."""

    captions: int
    without_nouns: int  # which name nothing
    unreadable: int
    left_out: Counter  # by reason: what the index found to be no pair
    seconds: float  # CPU time of tagging, reading and writing


class ListPart(NamedTuple):
    """Some rows of a list: where their nouns go, and (sample key, caption) of each."""

    file: str
    rows: list[tuple[str, str]]
    settings: NounSettings


@dataclass(frozen=True)
class NounExtraction:
    """Writes ``00000.nouns.arrow`` for ``00000.tar`` and ``a.nouns.arrow`` for ``a.csv``.

    Files appear complete or not at all; one that is up to date is not made again.

    Args:
        folder (str, optional): Where the files go. Default: beside the shards and lists.
        tagger (str | dict): See :func:`~code_mm.nouns.taggers.build_tagger`.
        word_type (str): 'noun' or 'noun_phrase'.
        layout (ShardLayout): Which members of a shard are images, captions and json.
        caption_field (str, optional): Field of the layout's caption, a json member.
        index_dir (str, optional): Where the shards' indices are kept, see ``index_shards``.
        caption_key (str): Column of lists.
        columns (Sequence[str], optional): Of csv and tsv lists without a header line.
    """

    folder: str | None = None
    tagger: str | dict = 'auto'
    word_type: str = 'noun'
    layout: ShardLayout = ShardLayout()  # noqa: RUF009 - a tuple
    caption_field: str | None = None
    index_dir: str | None = None
    caption_key: str = 'caption'
    columns: Sequence[str] | None = None

    def settings(self, source: str) -> NounSettings:
        """What an up-to-date file of ``source`` says about its making."""
        state = os.stat(source)
        read = (self.layout.caption, self.caption_field, self.caption_key, self.columns)
        stamp = json.loads(json.dumps([state.st_size, state.st_mtime_ns, *read]))  # as read back
        return NounSettings(settled_tagger(self.tagger), self.word_type, stamp)

    def is_done(self, source: str) -> bool:
        """Whether the nouns file of a shard or list is there, whole and up to date."""
        return _holds(nouns_file(source, self.folder), self.settings(source))

    def tag_shard(self, path: str) -> Tagged:
        """Tag all captions of a shard; images are not read."""
        start, settings, reader = time.process_time(), self.settings(path), ShardReader()
        index, captions = load_or_scan(path, self.layout, self.index_dir), {}
        for key, place in zip(index.keys, index.places[:, 1].tolist(), strict=True):
            try:
                data, field = reader.read(path, *place), self.caption_field
                caption = parse_fields(data).get(field) if field else decode_caption(data)
            except UnusableSample:
                caption = None
            captions[key.decode()] = caption
        tagged = self._write(nouns_file(path, self.folder), captions, settings, start)
        return tagged._replace(left_out=count_by_reason(index.skips))

    def _write(self, file: str, captions: dict, settings: NounSettings, start: float) -> Tagged:
        texts = [
            valid_text(text).strip() if isinstance(text, str) else '' for text in captions.values()
        ]
        nouns = list(map(NounSelector(self.tagger, self.word_type), texts))
        write_nouns(file, list(captions), nouns, list(map(caption_checksum, texts)), settings)
        unreadable = sum(not isinstance(text, str) for text in captions.values())
        seconds = time.process_time() - start
        return Tagged(len(captions), nouns.count([]), unreadable, Counter(), seconds)

    def list_parts(self, path: str, skips: list[Skip]) -> Iterator[ListPart]:
        """The rows of a list in parts that ``tag_part`` tags; then call ``join_parts``.

        Rows that cannot be read are appended to ``skips``.
        """
        folder, name = self._parts_folder(path), os.path.basename(path)
        os.makedirs(folder, exist_ok=True)

        def captions() -> Iterator[tuple[str, str]]:
            for line, row in read_rows(path, (self.caption_key,), self.columns, skips):
                if isinstance(caption := row.get(self.caption_key), str):
                    yield f'{name}:{line}', caption
                else:
                    skips.append(Skip('missing_caption', f'{name}:{line}', repr(caption)[:80]))

        rows = captions()
        settings, number = self.settings(path), 0
        while part := list(islice(rows, _ROWS_PER_PART)):
            yield ListPart(os.path.join(folder, f'{number:06d}{SUFFIX}'), part, settings)
            number += 1

    def tag_part(self, part: ListPart) -> Tagged:
        """Tag some rows of a list, unless an earlier run did."""
        if _holds(part.file, part.settings):
            return Tagged(0, 0, 0, Counter(), 0.0)
        return self._write(part.file, dict(part.rows), part.settings, time.process_time())

    def join_parts(self, path: str, parts: int) -> str:
        """Make one nouns file of a list's parts; returns its path."""
        folder, target = self._parts_folder(path), nouns_file(path, self.folder)
        files = [os.path.join(folder, f'{number:06d}{SUFFIX}') for number in range(parts)]
        tables = [NounTable(file) for file in files]
        rows = [row for table in tables for row in table.rows()]
        write_nouns(target, *zip(*rows, strict=True), tables[0].settings)
        self.remove_parts(path)
        return target

    def remove_parts(self, path: str) -> None:
        """Remove the parts of a list that were joined, by a run that was killed then, too."""
        shutil.rmtree(self._parts_folder(path), ignore_errors=True)

    def _parts_folder(self, path: str) -> str:
        return nouns_file(path, self.folder) + '.parts'


def _holds(file: str, settings: NounSettings) -> bool:
    """Whether a whole file made with these settings is there."""
    try:
        return NounTable(file).settings == settings
    except (OSError, ValueError):
        return False
