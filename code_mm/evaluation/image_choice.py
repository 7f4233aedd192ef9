"""Which images of a data set are looked at: by index, by name, or drawn by a seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def find_images(paths: Sequence[str], wanted: Sequence[str]) -> list[int | str]:
    """Find images of a data set by index or name, and files beside it.

    Args:
        paths (Sequence[str]): The data set's images in its order.
        wanted (Sequence[str]): Each an index (from 0; negative from the end), a name (``0007``,
            ``0007.jpg``), or the path of a file. A name that is also a number is an index.

    Returns:
        list[int | str]: Indices into ``paths``; the path where a file is not of the data set.

    Raises:
        ValueError: If nothing, or more than one image, goes by a name.
        IndexError: If an index is too large.
    """
    return [_find(paths, name) for name in wanted]


def draw_images(count: int, num: int, seed: int = 0) -> list[int]:
    """Draw ``num`` of ``count`` images without replacement, the same ones for the same seed.

    Returns:
        list[int]: Indices in rising order; all where there are no more than ``num``.
    """
    if num < 1:
        raise ValueError(f'expected at least 1 image to draw, but got {num}')
    drawn = np.random.default_rng(seed).permutation(count)[:num]
    return sorted(drawn.tolist())


def _find(paths: Sequence[str], name: str) -> int | str:
    if name.removeprefix('-').isdigit() and str(int(name)) == name:
        index = int(name)
        if not -len(paths) <= index < len(paths):
            raise IndexError(f'expected an index below {len(paths)} images, but got {index}')
        return index % len(paths)
    resolved = Path(name).resolve()
    found = [
        i
        for i, path in enumerate(paths)
        if name in (Path(path).stem, Path(path).name) or resolved == Path(path).resolve()
    ]
    if len(found) == 1:
        return found[0]
    if Path(name).is_file():
        return name
    if found:
        raise ValueError(
            f'expected one image called {name!r}, but {len(found)} are, '
            f'{[paths[i] for i in found[:3]]}; give the path'
        )
    examples = [Path(path).name for path in paths[:3]]
    raise ValueError(
        f'expected an index, the name of an image of the data set (such as {examples}) or a file, '
        f'but got {name!r}'
    )
