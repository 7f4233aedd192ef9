"""The indices of many shards in one file: thousands of small ones take long to open."""

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence

import numpy as np

from code_mm.atomic_write import atomic_write
from code_mm.datasets.sample_ledger import Skip

from .shard_index import ShardIndex, ShardLayout


def bundle_file(paths: Sequence[str], layout: ShardLayout, folder: str) -> str:
    """Where the indices of shards of these folders are kept together.

    The name stays the same while shards are added, so a growing download has one bundle.
    """
    folders = sorted({os.path.dirname(os.path.abspath(path)) for path in paths})
    name = hashlib.sha256(json.dumps([folders, layout]).encode()).hexdigest()[:16]
    return os.path.join(folder, f'bundle.{name}.npz')


def load_bundle(file: str, stamps: dict[str, str]) -> dict[str, ShardIndex]:
    """The indices that a bundle holds and that are up to date, by path.

    Args:
        file: see :func:`bundle_file`; may be absent or damaged.
        stamps: for each wanted shard what its index has to be marked with.
    """
    try:
        with np.load(file, allow_pickle=False) as saved:
            entries = json.loads(str(saved['entries']))
            keys, places = saved['keys'], saved['places']
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return {}
    wanted = {os.path.abspath(path): path for path in stamps}
    indices, start = {}, 0
    for full, stamp, count, skips in entries:
        rows = slice(start, start + count)
        start += count
        path = wanted.get(full)
        if path is not None and stamps[path] == stamp:
            skips = [Skip(*skip) for skip in skips]
            indices[path] = ShardIndex(path, keys[rows], places[rows], skips)
    return indices


def save_bundle(file: str, indices: Sequence[ShardIndex], stamps: dict[str, str]) -> None:
    """Write a bundle; it appears complete or not at all."""
    entries = [[os.path.abspath(i.path), stamps[i.path], len(i.keys), i.skips] for i in indices]
    with atomic_write(file) as temporary, open(temporary, 'wb') as stream:
        np.savez(
            stream,
            entries=json.dumps(entries),
            keys=np.concatenate([index.keys for index in indices]),
            places=np.concatenate([index.places for index in indices]),
        )
