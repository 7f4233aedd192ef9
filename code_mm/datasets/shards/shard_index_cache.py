"""Shard indices kept on disk: 36 million headers take a while to read."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence

import numpy as np
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from code_mm.atomic_write import atomic_write
from code_mm.datasets.sample_ledger import Skip

from .shard_index import ShardIndex, ShardLayout, scan_shard

_LOG_SECONDS = 30.0
_FORMAT = 3  # raise it when scan_shard or the file's form changes


def index_shards(paths: Sequence[str], layout: ShardLayout, folder: str | None) -> list[ShardIndex]:
    """Index many shards, in their order, and log the progress of a long scan.

    Each process of a distributed run begins at a place of its own, so that with a
    common ``folder`` the processes share the work.

    Args:
        paths (Sequence[str]): Tar files.
        layout (ShardLayout): Which members are images, captions and json.
        folder (str, optional): Where indices are kept; see :func:`load_or_scan`.
    """
    if folder is not None and not _writable(folder):
        print_log(
            f'index_dir {folder!r} cannot be written; shards without an index there are scanned '
            'on every start',
            logger='current',
            level=logging.WARNING,
        )
        folder = folder if os.path.isdir(folder) else None
    indices: dict[str, ShardIndex] = {}
    first = len(paths) * get_rank() // get_world_size()
    last_log = time.monotonic()
    for number, path in enumerate([*paths[first:], *paths[:first]], start=1):
        indices[path] = load_or_scan(path, layout, folder)
        if time.monotonic() - last_log > _LOG_SECONDS:
            print_log(f'Indexed {number} of {len(paths)} shards', logger='current')
            last_log = time.monotonic()
    return [indices[path] for path in paths]


def _writable(folder: str) -> bool:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def load_or_scan(path: str, layout: ShardLayout, folder: str | None) -> ShardIndex:
    """The index of a shard, from ``folder`` where it holds an up-to-date one.

    Any number of processes may share the folder: files appear complete or not at all.

    Args:
        path (str): Tar file.
        layout (ShardLayout): Which members are images, captions and json.
        folder (str, optional): Existing folder where indices are kept, one small file per shard.
            None: scan always.
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
            _save(file, stamp, index)
    return index


def keep_index(path: str, layout: ShardLayout, folder: str) -> int:
    """Make sure that ``folder`` holds the index of a shard; returns its number of samples."""
    return len(load_or_scan(path, layout, folder).keys)


def _load(file: str, stamp: str, path: str) -> ShardIndex | None:
    try:
        with open(file, 'rb') as stream:
            head, keys, places = (np.load(stream, allow_pickle=False) for _ in range(3))
        found, skips = json.loads(head.item())
    except (OSError, EOFError, ValueError, TypeError):
        return None  # absent or damaged: the shard is scanned again
    if found != stamp:
        return None
    return ShardIndex(path, keys, places, [Skip(*skip) for skip in skips])


def _save(file: str, stamp: str, index: ShardIndex) -> None:
    """Three arrays one after the other, which open three times as fast as an ``npz`` file."""
    head = np.array(json.dumps([stamp, index.skips]).encode())
    with atomic_write(file) as temporary, open(temporary, 'wb') as stream:
        for array in (head, index.keys, index.places):
            np.save(stream, array, allow_pickle=False)
