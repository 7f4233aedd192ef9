"""Colours that can be told apart, and label maps painted in them."""

from collections.abc import Mapping
from functools import lru_cache

import cv2
import numpy as np

from .lettering import Colour

# Safe for the colour-blind (Okabe and Ito 2008), black left out and the strongest first.
NOUN_COLOURS: tuple[Colour, ...] = (
    (230, 90, 0),
    (0, 114, 200),
    (0, 158, 115),
    (204, 80, 160),
    (240, 200, 40),
    (86, 190, 240),
)
_LEVELS = 24  # of candidates, per channel
_MAX = 4096


@lru_cache(maxsize=16)
def distinct_palette(n: int) -> tuple[Colour, ...]:
    """``n`` different RGB colours; those of a shorter list begin that of a longer one.

    Every colour is the one, among all that are neither dark nor nearly white, that is farthest in
    CIELAB from those before it. From about forty on a legend is needed to tell neighbours apart.

    Raises:
        ValueError: More than 4096 are asked for.
    """
    if n > _MAX:
        raise ValueError(f'expected at most {_MAX} classes to colour, but got {n}')
    values = np.linspace(0, 255, _LEVELS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(-1, 3)
    lab = _to_lab(grid)
    # Dark ones vanish in images and near-white ones in the legend's ground.
    usable = (lab[:, 0] > 30) & (lab[:, 0] < 92)
    grid, lab = grid[usable], lab[usable]
    chosen = list(NOUN_COLOURS)
    first = _to_lab(np.uint8(NOUN_COLOURS))
    distance = np.linalg.norm(lab[:, None] - first, axis=-1).min(axis=1)
    while len(chosen) < n:
        best = int(distance.argmax())
        chosen.append(tuple(grid[best].tolist()))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=1))
    return tuple(chosen[:n])


def _to_lab(colours: np.ndarray) -> np.ndarray:
    pixels = colours.reshape(1, -1, 3).astype(np.float32) / 255
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]


def paint_labels(
    image: np.ndarray,
    labels: np.ndarray,
    colours: Mapping[int, Colour],
    opacity: float,
    outline: Colour | None = None,
) -> np.ndarray:
    """Lay the colours of a label map over an image and outline the regions, one pixel wide.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        labels (np.ndarray): (H, W) integers.
        colours (Mapping[int, Colour]): RGB of the labels that are painted; others show the image.
        opacity (float): Of the colours, in [0, 1].
        outline (Colour, optional): Of the outlines; each region's own colour by default.
    """
    paint = np.zeros(image.shape, np.float32)
    painted = np.zeros(labels.shape, bool)
    for label, colour in colours.items():
        mask = labels == label
        paint[mask], painted[mask] = colour, True
    alpha = np.float32(opacity) * painted[..., None]
    # pixels with a neighbour (of four) of another label; outside the picture is their own
    padded = np.pad(labels, 1, mode='edge')
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    border = painted & np.any([labels != other for other in neighbours], axis=0)
    alpha[border] = 1.0
    if outline is not None:
        paint[border] = outline
    return np.round(image * (1 - alpha) + paint * alpha).astype(np.uint8)
