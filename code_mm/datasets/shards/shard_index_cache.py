"""Shard indices kept on disk: 36 million headers take a while to read."""

import hashlib
import json
import logging
import os
import time
import zipfile
from collections.abc import Sequence

import numpy as np
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log

from code_mm.atomic_write import atomic_write
from code_mm.datasets.sample_ledger import Skip

from .shard_index import ShardIndex, ShardLayout, scan_shard
from .shard_index_bundle import bundle_file, load_bundle, save_bundle

_LOG_SECONDS = 30.0
_LEAST_TOGETHER = 64  # shards whose indices are also kept in one file
_FORMAT = 2  # raise it when scan_shard or the file's form changes


def index_shards(paths: Sequence[str], layout: ShardLayout, folder: str | None) -> list[ShardIndex]:
    """Index many shards, in their order, and log the progress of a long scan.

    Each process of a distributed run begins at a place of its own, so that with a
    common ``folder`` the processes share the work. The indices of many shards are also
    kept together in one file, as thousands of small ones take long to open.

    Args:
        paths: tar files.
        layout: which members are images, captions and json.
        folder: where indices are kept; see :func:`load_or_scan`.
    """
    writable = folder is not None and _writable(folder)
    if folder is not None and not writable:
        print_log(
            f'index_dir {folder!r} cannot be written; shards without an index there are scanned '
            'on every start',
            logger='current',
            level=logging.WARNING,
        )
        folder = folder if os.path.isdir(folder) else None
    indices = _load_together(paths, layout, folder)
    num_together = len(indices)
    first = len(paths) * get_rank() // get_world_size()
    last_log = time.monotonic()
    for number, path in enumerate([*paths[first:], *paths[:first]], start=1):
        if path not in indices:
            indices[path] = load_or_scan(path, layout, folder)
        if time.monotonic() - last_log > _LOG_SECONDS:
            print_log(f'Indexed {number} of {len(paths)} shards', logger='current')
            last_log = time.monotonic()
    ordered = [indices[path] for path in paths]
    if writable and get_rank() == 0 and num_together < len(indices):
        _save_together(ordered, layout, folder)
    return ordered


def _load_together(
    paths: Sequence[str], layout: ShardLayout, folder: str | None
) -> dict[str, ShardIndex]:
    if folder is None or len(paths) < _LEAST_TOGETHER:
        return {}
    stamps = {path: _stamp(path, layout) for path in paths if os.path.exists(path)}
    return load_bundle(bundle_file(paths, layout, folder), stamps)


def _save_together(indices: Sequence[ShardIndex], layout: ShardLayout, folder: str) -> None:
    there = [index for index in indices if os.path.exists(index.path)]
    if len(indices) >= _LEAST_TOGETHER and there:
        file = bundle_file([index.path for index in indices], layout, folder)
        save_bundle(file, there, {index.path: _stamp(index.path, layout) for index in there})


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
        if os.access(folder, os.W_OK):
            _save(file, stamp, index)
    return index


def keep_index(path: str, layout: ShardLayout, folder: str) -> int:
    """Make sure that ``folder`` holds the index of a shard; returns its number of samples."""
    return len(load_or_scan(path, layout, folder).keys)


def load_kept(path: str, layout: ShardLayout, folder: str) -> ShardIndex | None:
    """The index of a shard that is there, if ``folder`` holds an up-to-date one."""
    return _load(*_file_and_stamp(path, layout, folder), path)


def _file_and_stamp(path: str, layout: ShardLayout, folder: str) -> tuple[str, str]:
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]
    file = os.path.join(folder, f'{os.path.basename(path)}.{name}.npz')
    return file, _stamp(path, layout)


def _stamp(path: str, layout: ShardLayout) -> str:
    state = os.stat(path)
    return json.dumps([_FORMAT, state.st_size, state.st_mtime_ns, layout])


def _load(file: str, stamp: str, path: str) -> ShardIndex | None:
    try:
        with np.load(file, allow_pickle=False) as saved:
            if str(saved['stamp']) != stamp:
                return None
            skips = [Skip(*skip) for skip in json.loads(str(saved['skips']))]
            return ShardIndex(path, saved['keys'], saved['places'], skips)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # absent or damaged: the shard is scanned again


def _save(file: str, stamp: str, index: ShardIndex) -> None:
    with atomic_write(file) as temporary, open(temporary, 'wb') as stream:
        np.savez(
            stream,
            stamp=stamp,
            keys=index.keys,
            places=index.places,
            skips=json.dumps(index.skips),
        )
