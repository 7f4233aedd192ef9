"""Shard indices kept on disk: 36 million headers take a while to read."""

import hashlib
import json
import logging
import os
import tempfile
import time
import zipfile
from collections.abc import Sequence

import numpy as np
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from .sample_ledger import Skip
from .shard_index import ShardIndex, ShardLayout, scan_shard

_LOG_SECONDS = 30.0
_FORMAT = 1  # raise it when scan_shard or the file's form changes


def index_shards(paths: Sequence[str], layout: ShardLayout, folder: str | None) -> list[ShardIndex]:
    """Index many shards, in their order, and log the progress of a long scan.

    Each process of a distributed run begins at a place of its own, so that with a
    common ``folder`` the processes share the work.

    Args:
        paths: tar files.
        layout: which members are images, captions and json.
        folder: where indices are kept; see :func:`load_or_scan`.
    """
    if folder is not None and not _writable(folder):
        print_log(
            f'index_dir {folder!r} cannot be written; the shards are scanned on every start',
            logger='current',
            level=logging.WARNING,
        )
        folder = None
    first = len(paths) * get_rank() // get_world_size()
    indices: dict[int, ShardIndex] = {}
    last_log = time.monotonic()
    for number in [*range(first, len(paths)), *range(first)]:
        indices[number] = load_or_scan(paths[number], layout, folder)
        if time.monotonic() - last_log > _LOG_SECONDS:
            print_log(f'Indexed {len(indices)} of {len(paths)} shards', logger='current')
            last_log = time.monotonic()
    return [indices[number] for number in range(len(paths))]


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
        path: tar file.
        layout: which members are images, captions and json.
        folder: existing folder where indices are kept, one small file per shard.
            None: scan always.
    """
    if folder is None or not os.path.exists(path):
        return scan_shard(path, layout)
    index = load_kept(path, layout, folder)
    if index is None:
        file, stamp = _file_and_stamp(path, layout, folder)
        index = scan_shard(path, layout)
        _save(file, stamp, index)
    return index


def load_kept(path: str, layout: ShardLayout, folder: str) -> ShardIndex | None:
    """The index of a shard that is there, if ``folder`` holds an up-to-date one."""
    return _load(*_file_and_stamp(path, layout, folder), path)


def _file_and_stamp(path: str, layout: ShardLayout, folder: str) -> tuple[str, str]:
    state = os.stat(path)
    stamp = json.dumps([_FORMAT, state.st_size, state.st_mtime_ns, layout])
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]
    return os.path.join(folder, f'{os.path.basename(path)}.{name}.npz'), stamp


def _load(file: str, stamp: str, path: str) -> ShardIndex | None:
    try:
        with np.load(file, allow_pickle=False) as saved:
            if str(saved['stamp']) != stamp:
                return None
            skips = [Skip(*skip) for skip in json.loads(str(saved['skips']))]
            return ShardIndex(path, saved['keys'], saved['places'], skips)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # absent or damaged: the shard is scanned again


def _save(file: str, stamp: str, index: ShardIndex) -> None:
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(file), suffix='.partial')
    with os.fdopen(handle, 'wb') as stream:
        np.savez(
            stream,
            stamp=stamp,
            keys=index.keys,
            places=index.places,
            skips=json.dumps(index.skips),
        )
    os.replace(temporary, file)
