"""Which tar shards does a user's pattern name?"""

import glob
import os
from collections.abc import Sequence

from braceexpand import braceexpand


def expand_shard_paths(shards: str | Sequence[str], root: str = '') -> list[str]:
    """Paths of the shards, in order, each once.

    Args:
        shards: one or more of: a path (``a/00000.tar``), a brace range
            (``{00000..01242}.tar``), a glob (``a/*.tar``), a folder (its ``*.tar``).
        root: folder before relative paths.

    Returns:
        Paths. Those written out or given by a brace range may be missing on disk.

    Raises:
        TypeError: ``shards`` is neither a string nor a sequence of strings.
        ValueError: a pattern matches no file.
    """
    patterns = [shards] if isinstance(shards, str) else shards
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise TypeError(f'expected shards to be a path or a list of paths, but got {shards!r}')
    if not patterns:
        raise ValueError('expected at least one shard, but got an empty list')
    return list(dict.fromkeys(path for pattern in patterns for path in _expand(pattern, root)))


def _expand(pattern: str, root: str) -> list[str]:
    full = os.path.expanduser(os.path.join(root, pattern))
    if os.path.exists(full):  # also a name that happens to hold braces or brackets
        paths = _tars_in(full) if os.path.isdir(full) else [full]
    else:
        paths = []
        for path in braceexpand(full):
            if glob.has_magic(path):
                paths += sorted(glob.glob(path))
            else:
                paths += _tars_in(path) if os.path.isdir(path) else [path]
    if not any(os.path.isfile(path) for path in paths):
        raise ValueError(
            f'expected shards {pattern!r} to name tar files, but none of '
            f'{os.path.abspath(full)!r} exists; check the pattern and data_root'
        )
    return paths


def _tars_in(folder: str) -> list[str]:
    return sorted(glob.glob(os.path.join(glob.escape(folder), '*.tar')))
