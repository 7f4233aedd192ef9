"""Which tar shards do a user's patterns name, on disks and on the net?"""

import glob
import os
import re
from collections.abc import Sequence

from braceexpand import UnbalancedBracesError, braceexpand

# a scheme of two letters or more, so that C:/ is a path
_SCHEME = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+:')
_TAR_NAME = re.compile(r'[^/\s"\'=|]+\.(?:tar(?:\.\w+)?|tgz)(?=$|[\s?"\'|])')


def is_url(shard: str) -> bool:
    """Whether a shard is named by a URL (``https://``, ``s3://``, ``pipe:``), not by a path."""
    return bool(_SCHEME.match(shard))


def shard_name(shard: str) -> str:
    """The file's name, the first half of its sample keys: ``00012.tar``."""
    if not is_url(shard):
        return os.path.basename(shard)
    plain = re.sub(r'\?[^\s"\']*', '', shard)  # without the query of a URL
    names = _TAR_NAME.findall(plain)
    return names[-1] if names else plain.rstrip('/').rpartition('/')[2]


def expand_shard_paths(shards: str | Sequence[str], root: str = '') -> list[str]:
    """Paths and URLs of the shards, in order, each once.

    Those written out or given by a brace range may be missing on disk, but a pattern of local
    files that names none at all is an error.

    Args:
        shards (str or Sequence[str]): One or more of: path, brace range
            (``{00000..01242}.tar``), glob (``a/*.tar``), folder (its ``*.tar``), URL, also with a
            brace range (``https://host/{000..331}.tar``, ``pipe:aws s3 cp s3://b/0.tar -``).
        root (str): Folder or URL before relative ones; a name, whose ``[ ] { , }`` are no pattern.
    """
    patterns = [shards] if isinstance(shards, str) else list(shards)
    if not patterns:
        raise ValueError('expected at least one shard, but got an empty list')
    found: list[str] = []
    for pattern in patterns:
        before = f'{root.rstrip("/")}/' if is_url(root) and not is_url(pattern) else ''
        if not before and not is_url(pattern):
            found += _expand_path(pattern, root)
            continue
        try:
            found += [before + name for name in braceexpand(pattern)]
        except UnbalancedBracesError:  # a brace of the shell in a pipe: command
            found.append(before + pattern)
    return list(dict.fromkeys(found))


def _expand_path(pattern: str, root: str) -> list[str]:
    root, pattern = os.path.expanduser(root), os.path.expanduser(pattern)
    full = os.path.join(root, pattern)
    # the first: also a name that happens to hold braces or brackets
    names = [pattern] if os.path.exists(full) else braceexpand(pattern)
    paths: list[str] = []
    for name in names:
        path = os.path.join(root, name)
        if os.path.isdir(path):
            paths += sorted(glob.glob(os.path.join(glob.escape(path), '*.tar')))
        elif glob.has_magic(name) and not os.path.exists(path):
            paths += sorted(glob.glob(os.path.join(glob.escape(root), name)))
        else:
            paths.append(path)
    if not any(os.path.isfile(path) for path in paths):
        raise ValueError(
            f'expected shards {pattern!r} to name tar files, but none of '
            f'{os.path.abspath(full)!r} exists; check the pattern and data_root'
        )
    return paths
