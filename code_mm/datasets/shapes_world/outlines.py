"""The silhouettes of the shapes world as polygons."""

from functools import cache

import numpy as np


def _circle(x: float, y: float, r: float, start: float = 0.0, end: float = 360.0) -> list:
    t = np.radians(np.linspace(start, end, 28))
    return [(x + r * np.cos(a), y + r * np.sin(a)) for a in t]


def _star() -> list:
    t = np.radians(np.arange(10) * 36 - 90)
    radius = np.where(np.arange(10) % 2 == 0, 0.5, 0.21)
    return [[(0.5 + r * np.cos(a), 0.53 + r * np.sin(a)) for a, r in zip(t, radius, strict=True)]]


def _heart() -> list:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [[(0.5 + a / 34, 0.45 - b / 34) for a, b in zip(x, y, strict=True)]]


def _tree() -> list:
    return [
        [
            (0.5, 0.0),
            (0.74, 0.3),
            (0.62, 0.3),
            (0.82, 0.56),
            (0.68, 0.56),
            (0.92, 0.82),
            (0.08, 0.82),
            (0.32, 0.56),
            (0.18, 0.56),
            (0.38, 0.3),
            (0.26, 0.3),
        ],
        [(0.43, 0.8), (0.57, 0.8), (0.57, 1.0), (0.43, 1.0)],
    ]


def _house() -> list:
    return [
        [
            (0.5, 0.05),
            (1.0, 0.45),
            (0.86, 0.45),
            (0.86, 0.95),
            (0.62, 0.95),
            (0.62, 0.62),
            (0.4, 0.62),
            (0.4, 0.95),
            (0.14, 0.95),
            (0.14, 0.45),
            (0.0, 0.45),
        ]
    ]


def _boat() -> list:
    return [
        [(0.0, 0.64), (1.0, 0.64), (0.8, 0.92), (0.2, 0.92)],
        [(0.44, 0.65), (0.44, 0.04), (0.5, 0.04), (0.5, 0.65)],
        [(0.54, 0.06), (0.9, 0.56), (0.54, 0.56)],
        [(0.4, 0.16), (0.4, 0.56), (0.14, 0.56)],
    ]


def _fish() -> list:
    t = np.radians(np.linspace(25, 335, 30))
    body = [(0.4 + 0.4 * np.cos(a), 0.5 + 0.25 * np.sin(a)) for a in t]
    return [[*body, (1.0, 0.2), (0.9, 0.5), (1.0, 0.8)]]


def _moon() -> list:
    outer = _circle(0.45, 0.5, 0.48, 50, 310)
    inner = _circle(0.66, 0.5, 0.38, 285, 75)
    return [outer + inner]


def _mushroom() -> list:
    return [
        [*_circle(0.5, 0.5, 0.48, 180, 360), (0.98, 0.56), (0.02, 0.56)],
        [(0.36, 0.54), (0.64, 0.54), (0.7, 0.98), (0.3, 0.98)],
    ]


def _ring() -> list:
    return [_circle(0.5, 0.5, 0.5, 0, 360) + _circle(0.5, 0.5, 0.28, 360, 0)]


def _arrow() -> list:
    return [
        [
            (0.0, 0.38),
            (0.52, 0.38),
            (0.52, 0.14),
            (1.0, 0.5),
            (0.52, 0.86),
            (0.52, 0.62),
            (0.0, 0.62),
        ]
    ]


def _cup() -> list:
    handle = _circle(0.72, 0.46, 0.27, -90, 90) + _circle(0.72, 0.46, 0.14, 90, -90)
    return [[(0.02, 0.1), (0.72, 0.1), (0.62, 0.92), (0.12, 0.92)], handle]


def _flower() -> list:
    petals = [
        _circle(0.5 + 0.25 * np.cos(a), 0.32 + 0.25 * np.sin(a), 0.155)
        for a in np.radians(np.arange(5) * 72 - 90)
    ]
    stem = [(0.47, 0.5), (0.53, 0.5), (0.53, 1.0), (0.47, 1.0)]
    leaf = [(0.52, 0.92), (0.62, 0.72), (0.84, 0.66), (0.74, 0.86)]
    return [*petals, _circle(0.5, 0.32, 0.1), stem, leaf]


def _bird() -> list:
    left = [(0.0, 0.22), (0.26, 0.22), (0.44, 0.42), (0.5, 0.36), (0.6, 0.4), (0.66, 0.3)]
    right = [(0.82, 0.1), (1.0, 0.08), (0.84, 0.36), (0.7, 0.56), (0.58, 0.62), (0.64, 0.86)]
    tail = [(0.5, 0.76), (0.38, 0.86), (0.42, 0.62), (0.28, 0.56), (0.14, 0.42)]
    return [left + right + tail]


def _crown() -> list:
    return [
        [(0.0, 0.16), (0.25, 0.5), (0.5, 0.1), (0.75, 0.5), (1.0, 0.16), (0.9, 0.88), (0.1, 0.88)]
    ]


def _bottle() -> list:
    return [
        [
            (0.42, 0.0),
            (0.58, 0.0),
            (0.58, 0.28),
            (0.7, 0.44),
            (0.7, 1.0),
            (0.3, 1.0),
            (0.3, 0.44),
            (0.42, 0.28),
        ]
    ]


def _car() -> list:
    body = [(0.0, 0.5), (0.2, 0.46), (0.34, 0.22), (0.7, 0.22), (0.82, 0.46), (1.0, 0.52)]
    return [
        [*body, (1.0, 0.72), (0.0, 0.72)],
        _circle(0.24, 0.73, 0.13),
        _circle(0.76, 0.73, 0.13),
    ]


_OUTLINES = {
    'star': _star,
    'heart': _heart,
    'tree': _tree,
    'house': _house,
    'boat': _boat,
    'fish': _fish,
    'moon': _moon,
    'mushroom': _mushroom,
    'ring': _ring,
    'arrow': _arrow,
    'cup': _cup,
    'flower': _flower,
    'bird': _bird,
    'crown': _crown,
    'bottle': _bottle,
    'car': _car,
}


@cache
def outline(noun: str) -> tuple:
    """Polygons whose union is the silhouette of ``noun``, centred on the origin.

    Args:
        noun: One of :data:`~code_mm.datasets.shapes_world.vocabulary.NOUNS`.

    Returns:
        Tuple of float arrays [points, 2] (x to the right, y down), in units of a box of side 1.

    Raises:
        ValueError: There is no such silhouette.
    """
    if noun not in _OUTLINES:
        raise ValueError(f'expected a noun of {sorted(_OUTLINES)}, but got {noun!r}')
    polygons = [np.asarray(p, np.float64) for p in _OUTLINES[noun]()]
    points = np.concatenate(polygons)
    centre = (points.min(0) + points.max(0)) / 2
    return tuple(p - centre for p in polygons)
