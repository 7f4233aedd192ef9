"""Pairs of an image file and a caption, from a COCO file, a list or a folder."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from code_mm.datasets.captions.caption_rows import read_rows, split_nouns
from code_mm.datasets.sample_ledger import Skip
from code_mm.structures.unusable_sample import UnusableSample

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp')
CAPTIONS_OF_AN_IMAGE = ('all', 'first', 'random')


class Pair(NamedTuple):
    """A pair that may still turn out to be unusable.

    Attributes:
        image: path of the file; empty where none was named.
        caption: text; None where there is none.
        fields: what else is known of it.
    """

    image: str
    caption: str | None
    fields: dict


def read_coco_pairs(
    path: str, image_folder: str, captions: str = 'all', seed: int = 0
) -> list[Pair]:
    """Pairs of a COCO file ``captions_*.json``, in the order of its images.

    Args:
        path: json object with ``images`` (id, file_name) and ``annotations`` (image_id,
            caption).
        image_folder: before the file names.
        captions: an image has five or so. 'all': a pair for each (the image is repeated);
            'first': the one with the least annotation id; 'random': one drawn with ``seed``.
        seed: of 'random'.

    Raises:
        ValueError: not such a file, or unknown ``captions``.
    """
    if captions not in CAPTIONS_OF_AN_IMAGE:
        raise ValueError(f'expected captions as one of {CAPTIONS_OF_AN_IMAGE}, but got {captions}')
    with open(path, encoding='utf-8') as file:
        content = json.load(file)
    missing = [key for key in ('images', 'annotations') if key not in content]
    if missing or not any('caption' in row for row in content['annotations']):
        raise ValueError(
            f'expected {path} to be a COCO captions file (captions_train2017.json), with images, '
            f'annotations and captions, but it has {sorted(content)}'
        )
    annotations: dict[int, list[dict]] = {}
    for row in sorted(content['annotations'], key=lambda row: row['id']):
        annotations.setdefault(row['image_id'], []).append(row)
    rng = np.random.default_rng(seed)
    pairs = []
    for image in content['images']:
        rows = annotations.pop(image['id'], [{}])
        if captions != 'all':
            rows = [rows[0 if captions == 'first' else rng.integers(len(rows))]]
        name = os.path.join(image_folder, image['file_name'])
        for row in rows:
            fields = dict(image_id=image['id'], annotation_id=row.get('id'))
            pairs.append(Pair(name, row.get('caption'), fields))
    for rows in annotations.values():  # of images that the file does not name
        pairs += [Pair('', row.get('caption'), dict(image_id=row['image_id'])) for row in rows]
    return pairs


def read_list_pairs(
    path: str,
    image_folder: str,
    image_key: str = 'image',
    caption_key: str = 'caption',
    columns: Sequence[str] | None = None,
    skips: list[Skip] | None = None,
) -> list[Pair]:
    """Pairs of a json, jsonl, csv or tsv list; other columns go to ``fields``.

    Args:
        path: see :class:`~code_mm.datasets.captions.caption_list.CaptionListDataset`.
        image_folder: before relative image paths.
        image_key: column of the image's path.
        caption_key: column of the caption.
        columns: names of the columns of a csv or tsv file without a header line.
        skips: rows that cannot be read are appended here.
    """
    pairs, skips = [], [] if skips is None else skips
    for line, row in read_rows(path, (image_key, caption_key), columns, skips):
        try:
            if isinstance(row.get('nouns'), str):
                row['nouns'] = split_nouns(row['nouns'])
        except UnusableSample as problem:
            skips.append(Skip(problem.reason, f'{os.path.basename(path)}:{line}', problem.detail))
            continue
        image, caption = row.pop(image_key, None), row.pop(caption_key, None)
        is_named = isinstance(image, str) and image.strip()
        name = os.path.join(image_folder, image.strip()) if is_named else ''
        pairs.append(Pair(name, caption if isinstance(caption, str) else None, row))
    return pairs


def read_folder_pairs(folder: str) -> list[Pair]:
    """Images below a folder with the text of the same name beside them (``a.jpg``, ``a.txt``).

    Images without a text have no caption, texts without an image are pairs without image.
    """
    root = Path(folder)
    files = sorted(path for path in root.rglob('*') if path.is_file())
    texts = {path.with_suffix(''): path for path in files if path.suffix.lower() == '.txt'}
    pairs, used = [], set()
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            stem = path.with_suffix('')
            used.add(stem)
            text = texts.get(stem)
            pairs.append(Pair(str(path), _text(text) if text else None, {}))
    return pairs + [Pair('', _text(text), {}) for stem, text in texts.items() if stem not in used]


def _text(path: Path) -> str:
    return path.read_bytes().decode('utf-8-sig', 'replace')


def is_coco(path: str) -> bool:
    """Whether a json file holds an object (COCO), not a list of rows."""
    if not path.endswith('.json'):
        return False
    with open(path, encoding='utf-8-sig', errors='replace') as file:
        while (character := file.read(1)).isspace():
            pass
    return character == '{'
