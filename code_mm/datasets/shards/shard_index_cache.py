"""Shard indices kept on disk: 36 million headers take a while to read."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from code_mm.atomic_write import atomic_write
from code_mm.datasets.sample_ledger import Skip

from .shard_index import ShardIndex, ShardLayout, scan_shard
from .shard_paths import is_url

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
    index = load_kept(path, layout, folder)
    if index is None:
        file, stamp = _file_and_stamp(path, layout, folder)
        index = scan_shard(path, layout)
        if os.access(folder, os.W_OK):
            _save(file, stamp, index)
    return index


def keep_index(path: str, layout: ShardLayout, folder: str) -> int:
    """Make sure that ``folder`` holds the index of a shard; returns its number of samples."""
    return len(load_or_scan(path, layout, folder).keys)


def load_kept(path: str, layout: ShardLayout, folder: str) -> ShardIndex | None:
    """The index of a shard that is there, if ``folder`` holds an up-to-date one."""
    file, stamp = _file_and_stamp(path, layout, folder)
    try:
        with open(file, 'rb') as stream:
            head, keys, places = (np.load(stream, allow_pickle=False) for _ in range(3))
        found, skips = json.loads(head.item())
    except (OSError, EOFError, ValueError, TypeError):
        return None  # absent or damaged: the shard is scanned again
    if found != stamp:
        return None
    return ShardIndex(path, keys, places, [Skip(*skip) for skip in skips])


def _file_and_stamp(path: str, layout: ShardLayout, folder: str) -> tuple[str, str]:
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]
    state = os.stat(path)
    stamp = json.dumps([_FORMAT, state.st_size, state.st_mtime_ns, layout])
    return os.path.join(folder, f'{os.path.basename(path)}.{name}.index'), stamp


def _save(file: str, stamp: str, index: ShardIndex) -> None:
    """Three arrays one after the other, which open three times as fast as an ``npz`` file."""
    head = np.array(json.dumps([stamp, index.skips]).encode())
    with atomic_write(file) as temporary, open(temporary, 'wb') as stream:
        for array in (head, index.keys, index.places):
            np.save(stream, array, allow_pickle=False)


def count_samples(
    shards: Sequence[str], layout: ShardLayout, index_dir: str | None = None
) -> int | None:
    """Samples of all shards, from what lies beside them; None where one cannot be counted.

    Looked at, in this order: the index kept in ``index_dir``, img2dataset's
    ``00000_stats.json`` ('successes'), the rows of its ``00000.parquet`` whose status is
    'success'. Never assumed: a shard without any of them makes the number unknown.

    Args:
        shards (Sequence[str]): Local paths and URLs.
        layout (ShardLayout): Which members are images, captions and json.
        index_dir (str, optional): Folder of kept indices.
    """
    total = 0
    for shard in shards:
        size = None if is_url(shard) else _count(shard, layout, index_dir)
        if size is None:
            return None
        total += size
    return total


def _count(shard: str, layout: ShardLayout, index_dir: str | None) -> int | None:
    if index_dir is not None and (index := load_kept(shard, layout, index_dir)) is not None:
        return len(index.keys)
    stem = os.path.splitext(shard)[0]
    try:
        with open(f'{stem}_stats.json', encoding='utf-8') as file:
            return int(json.load(file)['successes'])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or of another tool
    try:
        status = pq.read_table(f'{stem}.parquet', columns=['status'])['status']
        return status.to_pylist().count('success')
    except (OSError, KeyError, pa.ArrowException):
        return None
