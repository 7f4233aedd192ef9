"""Image-caption pairs from a list: json, jsonl, csv or tsv."""

import csv
import json
import os
from collections.abc import Iterator, Sequence

from code_mm.datasets.sample_ledger import Skip
from code_mm.registry import DATASETS
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.text_file import open_text

from .caption_dataset import CaptionDataset
from .sample import decode_sample

_DELIMITED = {
    '.csv': dict(delimiter=',', strict=True),
    # Tab-separated captions (CC3M's, CC12M's) hold stray quotes that quote nothing.
    '.tsv': dict(delimiter='\t', quoting=csv.QUOTE_NONE),
}
_SUFFIXES = ('.json', '.jsonl', *_DELIMITED)
_MAX_FIELD = 2**24  # characters; csv's own limit is 2**17


@DATASETS.register_module()
class CaptionListDataset(CaptionDataset):
    """Pairs of an image file and a caption, named by the rows of a list.

    Rows without image or caption, and rows that cannot be read, are left out, counted
    and named by file and line in one log line.

    Args:
        ann_file (str): ``.json`` (a list of objects), ``.jsonl`` (one object per line), ``.csv``
            (with quotes as usual) or ``.tsv`` (taken literally), relative to ``data_root``.
        image_key (str): Column of the image's path, relative to ``data_prefix['img_path']``.
        caption_key (str): Column of the caption.
        nouns_key (str, optional): Column, which may be absent, of the caption's nouns: a list, or
            in csv and tsv a json list or words separated by ``;``.
        columns (Sequence[str], optional): Of a csv or tsv file without a header line.
        **kwargs: Of :class:`CaptionDataset`, such as ``data_root`` and ``data_prefix``.
    """

    def __init__(
        self,
        ann_file: str,
        *,
        image_key: str = 'image',
        caption_key: str = 'caption',
        nouns_key: str | None = 'nouns',
        columns: Sequence[str] | None = None,
        **kwargs,
    ) -> None:
        self.ann_file = ann_file  # for self.name, before the base class joins the root
        self._columns = (image_key, caption_key, nouns_key, columns)
        super().__init__(ann_file=ann_file, **kwargs)

    @property
    def name(self) -> str:
        return f'{type(self).__name__}({self.ann_file!r})'

    def load_data_list(self) -> list[dict]:
        """Read the list; rows that are left out go to ``index_skips``."""
        folder = self.data_prefix.get('img_path', '')
        samples = list(read_list(self.ann_file, folder, self.index_skips, *self._columns))
        if not samples:
            found = ', '.join(map(str, self.index_skips[:5]))
            raise ValueError(
                f'{self.name}: expected rows with image and caption, but got none ({found})'
            )
        return samples


def read_list(
    path: str,
    folder: str,
    skips: list[Skip],
    image_key: str = 'image',
    caption_key: str = 'caption',
    nouns_key: str | None = 'nouns',
    columns: Sequence[str] | None = None,
) -> Iterator[dict]:
    """Yield the samples of a list as the pipeline gets them; rows left out go to ``skips``."""
    for line, row in read_rows(path, (image_key, caption_key), columns, skips):
        key, image = f'{os.path.basename(path)}:{line}', row.get(image_key)
        try:
            if not isinstance(image, str) or not image.strip():
                raise UnusableSample('missing_image', f'column {image_key!r} holds {image!r}')
            if isinstance(row.get(nouns_key), str):
                row[nouns_key] = split_nouns(row[nouns_key])
            image = os.path.join(folder, image.strip())
            yield decode_sample(key, path, image, b'', row, caption_key, nouns_key)
        except UnusableSample as problem:
            skips.append(Skip(problem.reason, key, problem.detail))


def read_rows(
    path: str, required: Sequence[str], columns: Sequence[str] | None, skips: list[Skip]
) -> Iterator[tuple[int, dict]]:
    """Yield the rows of a list with their line (json: their position), from 1.

    The file, or one row of a json, must have the ``required`` columns. ``columns`` are those of a
    csv or tsv file without a header line. Rows that cannot be read are appended to ``skips``.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f'expected ann_file to end with one of {_SUFFIXES}, but got {path!r}')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'expected ann_file {os.path.abspath(path)!r} to exist')
    with open_text(path) as file:
        if suffix in _DELIMITED:
            rows = _delimited(file, required, columns, _DELIMITED[suffix])
        else:
            rows = _json_list(file) if suffix == '.json' else _json_lines(file)
        seen: set[str] = set()
        for line, row in rows:
            if isinstance(row, dict):
                seen |= row.keys()
                yield line, row
                continue
            detail = row if isinstance(row, Exception) else f'no object, but {type(row).__name__}'
            skips.append(Skip('bad_row', f'{os.path.basename(path)}:{line}', str(detail)))
    if seen:
        _check_columns(path, required, seen)


def _delimited(file, required, columns, dialect) -> Iterator[tuple[int, dict | Exception]]:
    csv.field_size_limit(_MAX_FIELD)
    lines = (line.replace('\0', '\ufffd') for line in file)  # Python 3.10 reads no NUL
    reader = csv.DictReader(lines, columns, **dialect)
    try:
        if columns is None:
            rows = (row for row in reader.reader if row and not row[0].startswith('#'))
            reader.fieldnames = next(rows, [])
        _check_columns(file.name, required, reader.fieldnames or [])
        for row in reader:
            more = row.pop(None, [])  # commas behind a row …
            if '' in row:  # … or behind the header
                row[''] = row[''] or ''
            whole = not any(more) and None not in row.values()
            if whole or not row[reader.fieldnames[0]].startswith('#'):
                wrong = ValueError(f'not {len(reader.fieldnames)} columns')
                yield reader.line_num, row if whole else wrong
    except csv.Error as error:
        raise ValueError(
            f'{file.name}, line {reader.reader.line_num}: {error}; fields with quotes, commas or '
            'line breaks must be quoted and their quotes doubled'
        ) from error


def _json_list(file) -> Iterator[tuple[int, object]]:
    try:
        rows = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{file.name}: not valid json: {error}') from error
    if not isinstance(rows, list):
        raise ValueError(f'{file.name}: expected a json list of objects, got {type(rows).__name__}')
    return enumerate(rows, start=1)


def _json_lines(file) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(file, start=1):
        if (line := line.strip().rstrip(',')) and not line.startswith('#'):
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, error


def _check_columns(path: str, required: Sequence[str], columns) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise ValueError(
            f'{path}: expected columns {list(required)}, but {missing} are missing among '
            f'{sorted(columns)}; set image_key and caption_key (and columns where the file has '
            'no header line)'
        )


def split_nouns(text: str) -> list | None:
    """Nouns of a csv or tsv field; None for an empty one, so that they are tagged."""
    text = text.strip()
    if not text.startswith('['):
        return text.split(';') if text else None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableSample('bad_row', f'nouns {text!r}: {error}') from error
