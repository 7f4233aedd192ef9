"""Colours that can be told apart, for any number of classes."""

from functools import lru_cache

import cv2
import numpy as np

from .co_decomposition import NOUN_COLOURS
from .lettering import Colour

_LEVELS = 24  # per channel: 13824 candidates
_MAX = 4096


def distinct_palette(n: int) -> list[Colour]:
    """``n`` different colours; those of a shorter list begin that of a longer one.

    Every colour is the one, among all that are neither dark nor nearly white, that is farthest in
    CIELAB from those before it. All are different; from about forty on a legend is
    needed to tell neighbours apart.

    Args:
        n (int): Number of classes, at most 4096.

    Returns:
        list[Colour]: RGB in 0 .. 255.
    """
    if n > _MAX:
        raise ValueError(f'expected at most {_MAX} classes to colour, but got {n}')
    size = 64
    while size < n:
        size *= 4
    return list(_farthest_colours(size)[:n])


@lru_cache(maxsize=4)
def _farthest_colours(n: int) -> tuple[Colour, ...]:
    values = np.linspace(0, 255, _LEVELS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(-1, 3)
    lab = _to_lab(grid)
    # Dark ones vanish in images and near-white ones in the legend's ground.
    usable = (lab[:, 0] > 30) & (lab[:, 0] < 92)
    grid, lab = grid[usable], lab[usable]
    chosen = [tuple(c) for c in NOUN_COLOURS]  # safe for the colour-blind
    distance = np.full(len(grid), np.inf)
    for first in _to_lab(np.uint8(NOUN_COLOURS)):
        distance = np.minimum(distance, np.linalg.norm(lab - first, axis=1))
    while len(chosen) < n:
        best = int(distance.argmax())
        chosen.append(tuple(int(v) for v in grid[best]))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=1))
    return tuple(chosen)


def _to_lab(colours: np.ndarray) -> np.ndarray:
    pixels = colours.reshape(1, -1, 3).astype(np.float32) / 255
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
