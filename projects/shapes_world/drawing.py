"""Pixels of the shapes world: backgrounds, silhouettes, surfaces."""

from functools import cache

import cv2
import numpy as np

from .outlines import outline
from .vocabulary import COLOURS

_SHIFT = 4  # fractional bits of cv2's polygon coordinates
_OVERSAMPLING = 4  # silhouettes are drawn at 4x and averaged, for soft edges


def _fill(noun: str, side: int, centre, scale: float, angle: float, flip: bool) -> np.ndarray:
    """0/255 mask [side, side] of a silhouette; centre and scale in units of the side."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]]) * scale
    canvas = np.zeros((side, side), np.uint8)
    for polygon in outline(noun):
        points = polygon * (-1, 1) if flip else polygon
        points = (points @ turn + centre) * side - 0.5
        cv2.fillPoly(canvas, [np.round(points * 2**_SHIFT).astype(np.int32)], 255, shift=_SHIFT)
    return canvas


@cache
def unit_area(noun: str) -> float:
    """Area of the silhouette in a box of side 1."""
    return float((_fill(noun, 512, (0.5, 0.5), 0.9, 0.0, False) > 0).mean() / 0.81)


def coarse_mask(obj, size: int) -> np.ndarray:
    """Boolean mask [size, size] of an object, without soft edges (for placing objects)."""
    return _fill(obj.noun, size, obj.centre, obj.scale, obj.angle, obj.flip) > 0


def alpha_mask(obj, size: int) -> np.ndarray:
    """Coverage [size, size] in 0..1 of an object."""
    fine = _fill(obj.noun, size * _OVERSAMPLING, obj.centre, obj.scale, obj.angle, obj.flip)
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _noise(rng, size: int, cells: int) -> np.ndarray:
    """Smooth noise [size, size] in about -1..1 with ``cells`` blobs per side."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)


def _shade(rgb, light: np.ndarray) -> np.ndarray:
    return np.asarray(rgb, np.float32) * (1 + light[..., None])


def _grass(rng, size, y, x):
    blades = rng.uniform(-0.35, 0.35, (max(size // 8, 1), size)).astype(np.float32)
    blades = cv2.resize(blades, (size, size), interpolation=cv2.INTER_LINEAR)
    return _shade((80, 150, 60), blades)


def _sand(rng, size, y, x):
    grain = rng.normal(0, 0.06, (size, size)).astype(np.float32)
    return _shade((222, 196, 140), grain + 0.06 * _noise(rng, size, 4))


def _sky(rng, size, y, x):
    clouds = np.clip(_noise(rng, size, 5), 0, 1)[..., None] * 0.7
    blue = np.asarray((120, 180, 240), np.float32) + 40 * (y[..., None] - 0.5)
    return blue * (1 - clouds) + 250 * clouds


def _bricks(rng, size, y, x):
    rows = int(rng.integers(6, 9))
    row = np.floor(y * rows)
    column = x * rows / 2 + 0.5 * (row % 2)
    mortar = ((y * rows) % 1 < 0.2) | (column % 1 < 0.1)
    clay = _shade((160, 82, 60), 0.12 * np.sin(row * 12.9 + np.floor(column) * 78.2))
    return np.where(mortar[..., None], np.float32(190), clay)


def _water(rng, size, y, x):
    phase, waves = rng.uniform(0, 6.3, 2), rng.uniform(6, 9)
    swell = np.sin(2 * np.pi * (waves * y + 0.25 * np.sin(2 * np.pi * 2 * x + phase[0])) + phase[1])
    return _shade((45, 110, 180), 0.22 * swell.astype(np.float32))


def _snow(rng, size, y, x):
    flakes = (rng.random((size, size)) < 0.04).astype(np.float32)
    return _shade((226, 232, 240), 0.05 * _noise(rng, size, 4) - 0.14 * flakes)


def _stone(rng, size, y, x):
    light = 0.2 * _noise(rng, size, 7) + rng.normal(0, 0.04, (size, size)).astype(np.float32)
    return _shade((128, 126, 124), light)


_PAINTERS = {
    'grass': _grass,
    'sand': _sand,
    'sky': _sky,
    'bricks': _bricks,
    'water': _water,
    'snow': _snow,
    'stone': _stone,
}


def paint_background(noun: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Float RGB picture [size, size, 3] in 0..255 of a background noun."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    y, x = np.meshgrid(line, line, indexing='ij')
    return _PAINTERS[noun](rng, size, y, x) * np.float32(rng.uniform(0.85, 1.1))


def _surface(obj, size: int, rng: np.random.Generator) -> np.ndarray:
    """Float RGB [size, size, 3] of an object's colour and texture."""
    rgb = np.asarray(COLOURS[obj.colour], np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
    flat = np.broadcast_to(rgb, (size, size, 3))
    if obj.texture == 'plain':
        return flat
    # the second tone goes towards the middle grey, so that the colour word stays true
    other = rgb * 0.5 + (0 if rgb.mean() > 110 else 75)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    period = rng.uniform(0.075, 0.105)
    if obj.texture == 'striped':
        angle = rng.uniform(0, np.pi)
        on = ((x * np.cos(angle) + y * np.sin(angle)) / period) % 1 < 0.45
    else:
        on = np.hypot((x / period) % 1 - 0.5, (y / period) % 1 - 0.5) < 0.33
    return np.where(on[..., None], other, flat)


def draw(scene, size: int, rng: np.random.Generator) -> tuple:
    """Render a scene.

    Args:
        scene: A :class:`~projects.shapes_world.scene.Scene`.
        size (int): Side of the picture in pixels.
        rng (np.random.Generator): Source of surface details.

    Returns:
        ``image`` uint8 RGB [size, size, 3] and ``instances`` uint8 [size, size]: 0 for the
        background, ``i + 1`` where object ``i`` is the one seen (later objects cover earlier ones).
    """
    picture = paint_background(scene.background, size, rng)
    instances = np.zeros((size, size), np.uint8)
    for i, obj in enumerate(scene.objects):
        alpha = alpha_mask(obj, size)
        picture = picture + alpha[..., None] * (_surface(obj, size, rng) - picture)
        instances[alpha >= 0.5] = i + 1
    picture = picture + rng.normal(0, 3, (size, size, 1)).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8), instances
