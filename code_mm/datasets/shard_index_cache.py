"""Shard indices kept on disk: 36 million headers take a while to read."""

import hashlib
import json
import os
import tempfile
import zipfile

import numpy as np

from .sample_ledger import Skip
from .shard_index import ShardIndex, ShardLayout, scan_shard

_FORMAT = 1  # raise it when scan_shard or the file's form changes


def load_or_scan(path: str, layout: ShardLayout, folder: str | None) -> ShardIndex:
    """The index of a shard, from ``folder`` where it holds an up-to-date one.

    Any number of processes may share the folder: files appear complete or not at all.

    Args:
        path: tar file.
        layout: which members are images, captions and json.
        folder: where indices are kept, one small file per shard; made if missing.
            None: scan always.
    """
    if folder is None or not os.path.exists(path):
        return scan_shard(path, layout)
    state = os.stat(path)
    stamp = json.dumps([_FORMAT, state.st_size, state.st_mtime_ns, layout])
    name = hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16]
    file = os.path.join(folder, f'{os.path.basename(path)}.{name}.npz')
    index = _load(file, stamp, path)
    if index is None:
        index = scan_shard(path, layout)
        _save(file, stamp, index)
    return index


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
    folder = os.path.dirname(file)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix='.partial')
    with os.fdopen(handle, 'wb') as stream:
        np.savez(
            stream,
            stamp=stamp,
            keys=index.keys,
            places=index.places,
            skips=json.dumps(index.skips),
        )
    os.replace(temporary, file)
