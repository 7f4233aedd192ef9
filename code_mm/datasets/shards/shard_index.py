"""Where in a tar shard each image and caption lies, found once and kept on disk."""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence, Sized
from tarfile import TarInfo
from typing import BinaryIO, NamedTuple

import numpy as np
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from webdataset.tariterators import base_plus_ext

from code_mm.atomic_write import atomic_write
from code_mm.datasets.sample_ledger import Skip

from .tar_members import has_contents, tar_members

_ABSENT = range(0)
# first bytes of gzip, bzip2, xz and zstd files
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'\x28\xb5\x2f\xfd')
_LOG_SECONDS = 30.0
_FORMAT = 4  # raise it when scan_shard or the form of the kept file changes


class ShardLayout(NamedTuple):
    """Which member of a shard is what, by the end of its name."""

    image: tuple[str, ...] = ('jpg', 'jpeg', 'png', 'webp')  # lower case
    caption: str = 'txt'  # that of fields where the caption is a json field
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

    def key_and_kind(self, member: str) -> tuple[str, str]:
        """A member's sample, and what it is of it: image, caption, fields, text or other.

        The key ends where a known extension begins, so it may hold dots; that of another member
        at its first dot. What has no extension is its own key.
        """
        # the text beside a caption in the json is of the sample, too
        kinds = {'txt': 'text', self.fields: 'fields', **dict.fromkeys(self.image, 'image')}
        kinds[self.caption] = 'caption'
        key, extension = first, _ = base_plus_ext(member)
        while extension and extension.lower() not in kinds:
            part, _, extension = extension.partition('.')
            key = f'{key}.{part}'
        return (key, kinds[extension.lower()]) if extension else (first or member, 'other')


def missing_part(found: Mapping[str, Sized]) -> str | None:
    """Why members of these kinds, contents or places, are no pair; None: they are one."""
    if 'image' not in found:
        return 'missing_image'
    if 'caption' not in found:
        return 'missing_caption'
    if not found['image']:
        return 'broken_image'
    return None if found['caption'] else 'empty_caption'


class MemberSorter:
    """Sorts members into samples: of a whole shard, or neighbours in a stream.

    Args:
        layout (ShardLayout): What is what.
        damage (Callable): Called as by :func:`tar_members` for what is there twice.
    """

    def __init__(self, layout: ShardLayout, damage: Callable[[str, str, str], None]) -> None:
        self.samples: dict[str, dict[str, Sized]] = {}
        self._layout, self._damage = layout, damage
        self._others: list[tuple[str, str]] = []

    def add(self, member: TarInfo, value: Sized | None) -> None:
        """Take in a member: its contents or place."""
        key, kind = self._layout.key_and_kind(member.name)
        is_sample = key != member.name
        found = self.samples.setdefault(key, {}) if is_sample else {}
        if kind == 'other' or not has_contents(member):
            self._others.append((key if is_sample else '', member.name))
        elif kind in found:
            self._damage('duplicate_member', member.name, '')
        else:
            found[kind] = value

    def samples_and_unused(self) -> tuple[dict[str, dict[str, Sized]], list[str]]:
        """Kinds and values by sample, also of samples that lack a part; names that are of none.

        4.seg.png beside the pair 4 is of none: it is not the image of a sample 4.seg.
        """
        pairs = {key for key, found in self.samples.items() if missing_part(found) is None}
        extra = {key for key in self.samples.keys() - pairs if base_plus_ext(key)[0] in pairs}
        unused = [name for key, name in self._others if not key or key in pairs | extra]
        unused += [key for key in extra for _ in self.samples[key]]
        return {k: found for k, found in self.samples.items() if k not in extra}, sorted(unused)


class ShardIndex(NamedTuple):
    """The usable samples of one shard."""

    path: str
    keys: np.ndarray  # (n,) names without extension, as UTF-8 bytes
    places: np.ndarray  # (n, 3, 2) offset and size, bytes, of image, caption and json (or 0, 0)
    skips: list[Skip]  # what was left out


def index_shards(paths: Sequence[str], layout: ShardLayout, folder: str | None) -> list[ShardIndex]:
    """Index many shards, in their order, and log the progress of a long scan.

    Each process of a distributed run begins at a place of its own, so that with a
    common ``folder`` they share the work.
    """
    if folder is not None:
        with contextlib.suppress(OSError):
            os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK):
            print_log(
                f'index_dir {folder!r} cannot be written; shards without an index there are '
                'scanned on every start',
                logger='current',
                level=logging.WARNING,
            )
    indices: dict[str, ShardIndex] = {}
    first = len(paths) * get_rank() // get_world_size()
    last_log = time.monotonic()
    for number, path in enumerate([*paths[first:], *paths[:first]], start=1):
        indices[path] = load_or_scan(path, layout, folder)
        if time.monotonic() - last_log > _LOG_SECONDS:
            print_log(f'Indexed {number} of {len(paths)} shards', logger='current')
            last_log = time.monotonic()
    return [indices[path] for path in paths]


def load_or_scan(path: str, layout: ShardLayout, folder: str | None) -> ShardIndex:
    """The index of a shard, from ``folder`` where it holds an up-to-date one (None: scan always).

    Any number of processes may share the folder: files, one per shard, appear complete or not at
    all.
    """
    if folder is None or not os.path.exists(path):
        return scan_shard(path, layout)
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]
    file = os.path.join(folder, f'{os.path.basename(path)}.{name}.index')
    state = os.stat(path)
    stamp = json.dumps([_FORMAT, state.st_size, state.st_mtime_ns, layout])
    index = _load(file, stamp, path)
    if index is None:
        index = scan_shard(path, layout)
        if os.access(folder, os.W_OK):
            # Three arrays one after the other open three times as fast as an npz file.
            head = np.array(json.dumps([stamp, index.skips]).encode())
            with atomic_write(file) as temporary, open(temporary, 'wb') as stream:
                for array in (head, index.keys, index.places):
                    np.save(stream, array, allow_pickle=False)
    return index


def _load(file: str, stamp: str, path: str) -> ShardIndex | None:
    try:
        with open(file, 'rb') as stream:
            head, keys, places = (np.load(stream, allow_pickle=False) for _ in range(3))
        found, skips = json.loads(head.item())
    except (OSError, EOFError, ValueError, TypeError):
        return None  # absent or damaged: the shard is scanned again
    return ShardIndex(path, keys, places, [Skip(*s) for s in skips]) if found == stamp else None


def scan_shard(path: str, layout: ShardLayout = ShardLayout()) -> ShardIndex:  # noqa: B008
    """Index an uncompressed shard from its headers alone; no member is read.

    The members of a sample need not be neighbours. Damage costs what it hit: a
    shard cut short keeps the samples before the cut, one with overwritten headers
    those before and after. Every sample that lacks something, and all damage, is in ``skips``.
    """
    name = os.path.basename(path)
    skips: list[Skip] = []

    def damage(reason: str, member: str, detail: str = '') -> None:
        skips.append(Skip(reason, f'{name}/{member}' if member else name, detail))

    members = MemberSorter(layout, damage)
    try:
        with open(path, 'rb') as file:
            _scan(file, members, damage)
    except FileNotFoundError:
        skips.append(Skip('missing_shard', name))
    except OSError as error:
        skips.append(Skip('unreadable_shard', name, str(error)))
    keys, places = [], []
    samples, unused = members.samples_and_unused()
    if unused:
        skips.append(Skip('unused_member', f'{name}/{unused[0]}', 'the first', len(unused)))
    for key, found in samples.items():
        if problem := missing_part(found):
            skips.append(Skip(problem, f'{name}/{key}'))
            continue
        fields = found['caption'] if layout.caption == layout.fields else found.get('fields')
        keys.append(key.encode())
        parts = found['image'], found['caption'], fields or _ABSENT
        places.append([(part.start, len(part)) for part in parts])
    places = np.array(places, dtype=np.int64).reshape(-1, 3, 2)
    if not places.size or places.max() < 2**32:
        places = places.astype(np.uint32)  # half the memory for the usual shard
    return ShardIndex(path, np.array(keys, dtype=np.bytes_), places, skips)


def _scan(file: BinaryIO, members: MemberSorter, damage: Callable) -> None:
    """Take in the places of all members, as ranges of bytes."""
    if file.peek(8).startswith(_COMPRESSED):
        damage('unreadable_shard', '', 'a compressed tar file has no random access; decompress it')
        return
    end = os.fstat(file.fileno()).st_size
    for member, _ in tar_members(file, lambda name: True, damage, with_data=False):
        place = range(member.offset_data, member.offset_data + member.size)
        if place.stop <= end:
            members.add(member, place)
