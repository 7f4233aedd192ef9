"""Which tar shards do a user's patterns name, on disks and on the net?"""

import os
import re
from collections.abc import Sequence

from braceexpand import UnbalancedBracesError, braceexpand

from code_mm.datasets.sample_ledger import Skip

from .shard_paths import expand_shard_paths

# a scheme of two letters or more, so that C:/ is a path
_SCHEME = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+:')
_TAR_NAME = re.compile(r'[^/\s"\'=|]+\.(?:tar(?:\.\w+)?|tgz)(?=$|[\s?"\'|])')


def is_url(shard: str) -> bool:
    """Whether a shard is named by a URL (``https://``, ``s3://``, ``pipe:``), not by a path."""
    return bool(_SCHEME.match(shard))


def expand_shard_urls(shards: str | Sequence[str], root: str = '') -> list[str]:
    """Paths and URLs of the shards, in order, each once.

    Args:
        shards: one or more of: what :func:`~code_mm.datasets.shards.shard_paths.expand_shard_paths`
            takes (path, brace range, glob, folder); a URL, also with a brace range
            (``https://host/{00000..01242}.tar``, ``pipe:aws s3 cp s3://b/{000..331}.tar -``).
        root: folder or URL before relative ones.

    Raises:
        TypeError: ``shards`` is neither a string nor a sequence of strings.
        ValueError: the list is empty, or a pattern of local files matches none.
    """
    patterns = [shards] if isinstance(shards, str) else shards
    if not isinstance(patterns, Sequence) or not all(isinstance(p, str) for p in patterns):
        raise TypeError(f'expected shards to be a path or a list of paths, but got {shards!r}')
    if not patterns:
        raise ValueError('expected at least one shard, but got an empty list')
    found: list[str] = []
    for pattern in patterns:
        if is_url(pattern):
            found += _expand_url(pattern)
        elif is_url(root):
            found += _expand_url(f'{root.rstrip("/")}/{pattern}')
        else:
            found += expand_shard_paths(pattern, root)
    return list(dict.fromkeys(found))


def _expand_url(url: str) -> list[str]:
    try:
        return list(braceexpand(url))
    except UnbalancedBracesError:  # a brace of the shell in a pipe: command
        return [url]


def shard_name(shard: str) -> str:
    """The file's name, the first half of its sample keys: ``00012.tar``."""
    if not is_url(shard):
        return os.path.basename(shard)
    plain = re.sub(r'\?[^\s"\']*', '', shard)  # without the query of a URL
    names = _TAR_NAME.findall(plain)
    return names[-1] if names else plain.rstrip('/').rpartition('/')[2]


def split_missing(shards: Sequence[str]) -> tuple[list[str], list[Skip]]:
    """Part the shards that are there, as far as this machine's disks can tell, from the rest.

    Each folder is listed once, which is faster on a network file system than asking for
    thousands of files.
    """
    listings: dict[str, set[str]] = {}
    there, skips = [], []
    for shard in shards:
        folder, name = os.path.split(shard)
        if is_url(shard):
            there.append(shard)
            continue
        if folder not in listings:
            listings[folder] = (
                set(os.listdir(folder or '.')) if os.path.isdir(folder or '.') else set()
            )
        if name in listings[folder]:
            there.append(shard)
        else:
            skips.append(Skip('missing_shard', name))
    return there, skips
