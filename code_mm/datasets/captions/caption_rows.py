"""Rows of a json, jsonl, csv or tsv file, each with its line."""

import csv
import json
import os
from collections.abc import Iterator, Sequence

from code_mm.datasets.sample_ledger import Skip
from code_mm.structures.unusable_sample import UnusableSample

_DELIMITED = {
    '.csv': dict(delimiter=',', strict=True),
    # Tab-separated captions (CC3M's, CC12M's) hold stray quotes that quote nothing.
    '.tsv': dict(delimiter='\t', quoting=csv.QUOTE_NONE),
}
_SUFFIXES = ('.json', '.jsonl', *_DELIMITED)
_MAX_FIELD = 2**24  # characters; csv's own limit is 2**17


def read_rows(
    path: str, required: Sequence[str], columns: Sequence[str] | None, skips: list[Skip]
) -> Iterator[tuple[int, dict]]:
    """Yield the rows of a list with their line (json: their position), from 1.

    Args:
        path (str): File whose suffix tells its kind.
        required (Sequence[str]): Columns that the file must have (in json: one row at least).
        columns (Sequence[str], optional): Of a csv or tsv file without a header line.
        skips (list[Skip]): Rows that cannot be read are appended here.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Unknown suffix, a file that is not of its kind, or a missing column.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f'expected ann_file to end with one of {_SUFFIXES}, but got {path!r}')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'expected ann_file {os.path.abspath(path)!r} to exist')
    # utf-8-sig: spreadsheets write a byte order mark
    with open(path, encoding='utf-8-sig', errors='replace', newline='') as file:
        if suffix in _DELIMITED:
            rows = _delimited(file, path, required, columns, _DELIMITED[suffix])
        else:
            rows = _json_list(file, path) if suffix == '.json' else _json_lines(file)
        seen: set[str] = set()
        for line, row in rows:
            if isinstance(row, dict):
                seen |= row.keys()
                yield line, row
                continue
            wrong = isinstance(row, ValueError)
            detail = str(row) if wrong else f'expected an object, got {type(row).__name__}'
            skips.append(Skip('bad_row', f'{os.path.basename(path)}:{line}', detail))
    if seen:
        _check_columns(path, required, seen)


def _delimited(file, path, required, columns, dialect) -> Iterator[tuple[int, dict | ValueError]]:
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(file, **dialect)
    try:
        header = list(columns) if columns else next(reader, [])
        _check_columns(path, required, header)
        for values in reader:
            if len(values) == len(header):
                yield reader.line_num, dict(zip(header, values, strict=True))
            elif values:  # not a blank line
                wrong = ValueError(f'{len(values)} columns instead of {len(header)}')
                yield reader.line_num, wrong
    except csv.Error as error:
        raise ValueError(
            f'{path}, line {reader.line_num}: {error}; fields with quotes, commas or line '
            'breaks must be quoted and their quotes doubled'
        ) from error


def _json_list(file, path: str) -> Iterator[tuple[int, object]]:
    try:
        rows = json.load(file)
    except ValueError as error:
        raise ValueError(f'{path}: not valid json: {error}') from error
    if not isinstance(rows, list):
        raise ValueError(f'{path}: expected a json list of objects, got {type(rows).__name__}')
    return enumerate(rows, start=1)


def _json_lines(file) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
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
    """Nouns of a csv or tsv field; None for an empty one, so that they are tagged.

    Raises:
        UnusableSample: It begins like a json list, but is none.
    """
    text = text.strip()
    if not text.startswith('['):
        return text.split(';') if text else None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnusableSample('bad_row', f'nouns {text!r}: {error}') from error
