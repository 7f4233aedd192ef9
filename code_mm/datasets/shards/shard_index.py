"""The index of one tar shard: where in the file each image and caption lies."""

import os
from typing import NamedTuple

import numpy as np

from code_mm.datasets.sample_ledger import Skip

from .tar_members import tar_members

_ABSENT = (0, 0)


class ShardLayout(NamedTuple):
    """Which member of a shard is what, by the part of its name after the first dot.

    Attributes:
        image: extensions of images, lower case.
        caption: extension of the member that holds the caption (``'txt'``, or that of
            ``fields`` where the caption is a json field).
        fields: extension of the json member, ``'json'``.
    """

    image: tuple[str, ...] = ('jpg', 'jpeg', 'png', 'webp')
    caption: str = 'txt'
    fields: str = 'json'


class ShardIndex(NamedTuple):
    """The usable samples of one shard.

    Attributes:
        path: of the tar file.
        keys: (n,) names without extension, as UTF-8 bytes.
        places: (n, 3, 2) offset and size, in bytes, of image, caption and json
            member; (0, 0) where there is no json member.
        skips: what was left out.
    """

    path: str
    keys: np.ndarray
    places: np.ndarray
    skips: list[Skip]

    @property
    def name(self) -> str:
        """The file's name, the first half of its sample keys."""
        return os.path.basename(self.path)


def scan_shard(path: str, layout: ShardLayout = ShardLayout()) -> ShardIndex:  # noqa: B008
    """Index a shard from its headers alone; no member is read.

    The members of a sample need not be neighbours. Damage costs what it hit: a
    shard cut short keeps the samples before the cut, one with overwritten headers
    those before and after.

    Args:
        path: tar file, uncompressed.
        layout: which members are images, captions and json.

    Returns:
        The index; every sample that lacks something, and all damage, is in its skips.
    """
    name = os.path.basename(path)
    skips: list[Skip] = []
    members: dict[str, dict[str, tuple[int, int]]] = {}
    kinds = dict.fromkeys(layout.image, 'image')
    kinds |= {layout.fields: 'fields', layout.caption: 'caption'}
    for member in tar_members(path, skips):
        folder, slash, file_name = member.name.rpartition('/')
        stem, _, extension = file_name.partition('.')
        kind = kinds.get(extension.lower())
        if not stem or kind is None:
            continue
        found = members.setdefault(f'{folder}{slash}{stem}', {})
        if kind in found:
            skips.append(Skip('duplicate_member', f'{name}/{member.name}'))
        else:
            found[kind] = (member.offset_data, member.size)
    if layout.caption == layout.fields:
        for found in members.values():
            found['fields'] = found.get('caption', _ABSENT)
    return _index(path, members, skips)


def _index(path: str, members: dict, skips: list[Skip]) -> ShardIndex:
    keys, places = [], []
    for key, found in members.items():
        problem = _problem(found)
        if problem:
            skips.append(Skip(problem, f'{os.path.basename(path)}/{key}'))
            continue
        keys.append(key.encode())
        places.append((found['image'], found['caption'], found.get('fields', _ABSENT)))
    places = np.array(places, dtype=np.int64).reshape(-1, 3, 2)
    if not places.size or places.max() < 2**32:
        places = places.astype(np.uint32)  # half the memory for the usual shard
    return ShardIndex(path, np.array(keys, dtype=np.bytes_), places, skips)


def _problem(found: dict[str, tuple[int, int]]) -> str | None:
    if 'image' not in found:
        return 'missing_image'
    if 'caption' not in found:
        return 'missing_caption'
    if found['image'][1] == 0:
        return 'broken_image'
    return 'empty_caption' if found['caption'][1] == 0 else None
