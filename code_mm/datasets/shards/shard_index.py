"""The index of one tar shard: where in the file each image and caption lies."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from webdataset.tariterators import base_plus_ext

from code_mm.datasets.sample_ledger import Skip

from .tar_members import tar_members

_ABSENT = (0, 0)
# first bytes of gzip, bzip2, xz and zstd files
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd')


class ShardLayout(NamedTuple):
    """Which member of a shard is what, by the part of its name after the first dot.

    Attributes:
        image: Extensions of images, lower case.
        caption: Extension of the member that holds the caption (``'txt'``, or that of
            ``fields`` where the caption is a json field).
        fields: Extension of the json member, ``'json'``.
    """

    image: tuple[str, ...] = ('jpg', 'jpeg', 'png', 'webp')
    caption: str = 'txt'
    fields: str = 'json'

    @classmethod
    def of(
        cls, image_extensions: Sequence[str], caption_extension: str, caption_field: str | None
    ) -> 'ShardLayout':
        """The layout that the keys of a data set describe."""
        return cls(
            image=tuple(extension.lower().lstrip('.') for extension in image_extensions),
            caption='json' if caption_field else caption_extension.lower().lstrip('.'),
        )

    def key_and_kind(self, member: str) -> tuple[str, str] | tuple[None, None]:
        """Name of a member's sample, and what it is: 'image', 'caption', 'fields'."""
        key, extension = base_plus_ext(member)
        if key is None:
            return None, None
        extension = extension.lower()
        if extension == self.caption:
            return key, 'caption'
        if extension in self.image:
            return key, 'image'
        return (key, 'fields') if extension == self.fields else (None, None)


def missing_part(sizes: Mapping[str, int]) -> str | None:
    """Why members of these kinds and sizes (bytes) are no pair; None: they are one."""
    if 'image' not in sizes:
        return 'missing_image'
    if 'caption' not in sizes:
        return 'missing_caption'
    if not sizes['image']:
        return 'broken_image'
    return None if sizes['caption'] else 'empty_caption'


class ShardIndex(NamedTuple):
    """The usable samples of one shard.

    Attributes:
        path: Of the tar file.
        keys: (n,) names without extension, as UTF-8 bytes.
        places: (n, 3, 2) offset and size, in bytes, of image, caption and json
            member; (0, 0) where there is no json member.
        skips: What was left out.
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
        path (str): Tar file, uncompressed.
        layout (ShardLayout): Which members are images, captions and json.

    Returns:
        ShardIndex: Every sample that lacks something, and all damage, is in its skips.
    """
    name = os.path.basename(path)
    skips: list[Skip] = []
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        _scan(path, layout, samples, skips)
    except FileNotFoundError:
        skips.append(Skip('missing_shard', name))
    except OSError as error:
        skips.append(Skip('unreadable_shard', name, str(error)))
    keys, places = [], []
    for key, found in samples.items():
        problem = missing_part({kind: size for kind, (_, size) in found.items()})
        if problem:
            skips.append(Skip(problem, f'{name}/{key}'))
            continue
        fields = found['caption'] if layout.caption == layout.fields else found.get('fields')
        keys.append(key.encode())
        places.append((found['image'], found['caption'], fields or _ABSENT))
    places = np.array(places, dtype=np.int64).reshape(-1, 3, 2)
    if not places.size or places.max() < 2**32:
        places = places.astype(np.uint32)  # half the memory for the usual shard
    return ShardIndex(path, np.array(keys, dtype=np.bytes_), places, skips)


def _scan(path: str, layout: ShardLayout, samples: dict, skips: list[Skip]) -> None:
    """Place and size of each member by sample and kind; damage goes to ``skips``."""
    name, size = os.path.basename(path), os.path.getsize(path)

    def damage(reason: str, member: str, detail: str) -> None:
        skips.append(Skip(reason, f'{name}/{member}' if member else name, detail))

    with open(path, 'rb') as file:
        if file.peek(8).startswith(_COMPRESSED):
            detail = 'a compressed tar file has no random access; decompress it'
            damage('unreadable_shard', '', detail)
            return
        for member, _ in tar_members(file, lambda name: True, damage, with_data=False):
            key, kind = layout.key_and_kind(member.name)
            if kind is None or member.offset_data + member.size > size:
                continue
            found = samples.setdefault(key, {})
            if kind in found:
                damage('duplicate_member', member.name, '')
            else:
                found[kind] = (member.offset_data, member.size)
