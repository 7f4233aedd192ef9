"""The silhouettes of the shapes world as polygons."""

from functools import cache

import numpy as np


def _points(text: str) -> list[tuple[float, float]]:
    """Corners x y, x y, ..."""
    return [tuple(map(float, pair.split())) for pair in text.split(',')]


def _circle(x: float, y: float, r: float, start: float = 0.0, end: float = 360.0) -> list:
    t = np.radians(np.linspace(start, end, 28))
    return [(x + r * np.cos(a), y + r * np.sin(a)) for a in t]


def _star() -> list:
    t = np.radians(np.arange(10) * 36 - 90)
    radius = np.where(np.arange(10) % 2 == 0, 0.5, 0.21)
    return [(0.5 + r * np.cos(a), 0.53 + r * np.sin(a)) for a, r in zip(t, radius, strict=True)]


def _heart() -> list:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [(0.5 + a / 34, 0.45 - b / 34) for a, b in zip(x, y, strict=True)]


def _fish() -> list:
    t = np.radians(np.linspace(25, 335, 30))
    body = [(0.4 + 0.4 * np.cos(a), 0.5 + 0.25 * np.sin(a)) for a in t]
    return body + _points('1 .2, .9 .5, 1 .8')


def _petals() -> list:
    angles = np.radians(np.arange(5) * 72 - 90)
    return [_circle(0.5 + 0.25 * np.cos(a), 0.32 + 0.25 * np.sin(a), 0.155) for a in angles]


# Noun -> polygons whose union it is, in a box of side 1, x to the right and y down.
_OUTLINES = dict(
    star=[_star()],
    heart=[_heart()],
    tree=[
        _points(
            '.5 0, .74 .3, .62 .3, .82 .56, .68 .56, .92 .82, .08 .82, .32 .56, .18 .56, .38 .3,'
            '.26 .3'
        ),
        _points('.43 .8, .57 .8, .57 1, .43 1'),
    ],
    house=[
        _points(
            '.5 .05, 1 .45, .86 .45, .86 .95, .62 .95, .62 .62, .4 .62, .4 .95, .14 .95, .14 .45,'
            '0 .45'
        )
    ],
    boat=[
        _points('0 .64, 1 .64, .8 .92, .2 .92'),
        _points('.44 .65, .44 .04, .5 .04, .5 .65'),
        _points('.54 .06, .9 .56, .54 .56'),
        _points('.4 .16, .4 .56, .14 .56'),
    ],
    fish=[_fish()],
    moon=[_circle(0.45, 0.5, 0.48, 50, 310) + _circle(0.66, 0.5, 0.38, 285, 75)],
    mushroom=[
        [*_circle(0.5, 0.5, 0.48, 180, 360), *_points('.98 .56, .02 .56')],
        _points('.36 .54, .64 .54, .7 .98, .3 .98'),
    ],
    ring=[_circle(0.5, 0.5, 0.5) + _circle(0.5, 0.5, 0.28, 360, 0)],
    arrow=[_points('0 .38, .52 .38, .52 .14, 1 .5, .52 .86, .52 .62, 0 .62')],
    cup=[
        _points('.02 .1, .72 .1, .62 .92, .12 .92'),
        _circle(0.72, 0.46, 0.27, -90, 90) + _circle(0.72, 0.46, 0.14, 90, -90),
    ],
    flower=[
        *_petals(),
        _circle(0.5, 0.32, 0.1),
        _points('.47 .5, .53 .5, .53 1, .47 1'),
        _points('.52 .92, .62 .72, .84 .66, .74 .86'),
    ],
    bird=[
        _points(
            '0 .22, .26 .22, .44 .42, .5 .36, .6 .4, .66 .3, .82 .1, 1 .08, .84 .36, .7 .56,'
            '.58 .62, .64 .86, .5 .76, .38 .86, .42 .62, .28 .56, .14 .42'
        )
    ],
    crown=[_points('0 .16, .25 .5, .5 .1, .75 .5, 1 .16, .9 .88, .1 .88')],
    bottle=[_points('.42 0, .58 0, .58 .28, .7 .44, .7 1, .3 1, .3 .44, .42 .28')],
    car=[
        _points('0 .5, .2 .46, .34 .22, .7 .22, .82 .46, 1 .52, 1 .72, 0 .72'),
        _circle(0.24, 0.73, 0.13),
        _circle(0.76, 0.73, 0.13),
    ],
)


@cache
def outline(noun: str) -> tuple:
    """Polygons whose union is the silhouette of ``noun``, centred on the origin.

    Returns:
        Tuple of float arrays [points, 2] (x to the right, y down), in units of a box of side 1.

    Raises:
        ValueError: There is no such silhouette.
    """
    if noun not in _OUTLINES:
        raise ValueError(f'expected a noun of {sorted(_OUTLINES)}, but got {noun!r}')
    polygons = [np.asarray(polygon, np.float64) for polygon in _OUTLINES[noun]]
    points = np.concatenate(polygons)
    centre = (points.min(0) + points.max(0)) / 2
    return tuple(polygon - centre for polygon in polygons)
