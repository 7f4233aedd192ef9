"""COCO's three spellings of a mask, decoded as COCO's own tools do.

pycocotools needs a compiler where it has no wheel; the few lines here need numpy and give the same
pixels (``tests/test_datasets/test_coco_masks.py`` compares the two where both are there).
"""

from collections.abc import Mapping, Sequence

import numpy as np

# Outlines are walked on a grid five times as fine as the pixels.
_FINER = 5


def decode_mask(
    segmentation: Sequence[Sequence[float]] | Mapping, height: int, width: int
) -> np.ndarray:
    """Decode the ``segmentation`` of an annotation.

    Args:
        segmentation: A list of polygons ``[x0, y0, x1, y1, ...]`` in pixels, whose union is the
            mask, or a run-length encoding ``{'size': [height, width], 'counts': ...}`` with counts
            as a list of numbers or as COCO's compressed text.
        height (int): Of the image, in pixels.
        width (int): Of the image, in pixels.

    Returns:
        np.ndarray: Mask (height, width) of bools.

    Raises:
        ValueError: If the encoding's size differs from the image's, its runs do not fill
            the image, or a polygon has no two coordinates per point or fewer than three points.
    """
    if isinstance(segmentation, Mapping):
        size = list(segmentation['size'])
        if size != [height, width]:
            raise ValueError(
                f'expected a mask of the size of its image [{height}, {width}], but got {size}'
            )
        counts = segmentation['counts']
        if isinstance(counts, (str, bytes)):
            counts = _decompress(counts)
        return _fill_runs(counts, height, width)
    mask = np.zeros((height, width), bool)
    for polygon in segmentation:
        mask |= _fill_polygon(polygon, height, width)
    return mask


def _fill_runs(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Runs of 0 and 1 in turn, beginning with 0, down the columns."""
    counts = np.asarray(counts, np.int64)
    if counts.sum() != height * width or (counts < 0).any():
        raise ValueError(
            f'expected run lengths with the sum {height} * {width} = {height * width}, but got '
            f'{counts.sum()}; the file is damaged or belongs to another image'
        )
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _decompress(text: str | bytes) -> list[int]:
    """Numbers of five bits a character, lowest first; bit 32: more follow, bit 16: the sign.

    From the fourth number on, each is written as its difference to the one two before.
    """
    codes = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for code in codes:
        chunk = code - 48
        value |= (chunk & 31) << shift
        shift += 5
        if chunk & 32:
            continue
        if chunk & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError(f'expected a whole compressed mask, but it ends within a number: {text!r}')
    return counts


def _fill_polygon(polygon: Sequence[float], height: int, width: int) -> np.ndarray:
    """Pixels inside an outline: an odd number of crossings above them in their column."""
    points = np.asarray(polygon, np.float64)
    if points.ndim != 1 or len(points) % 2 or len(points) < 6:
        raise ValueError(
            'expected a polygon [x0, y0, x1, y1, ...] of at least three points, but got '
            f'{len(points)} numbers'
        )
    # int() of C: towards zero
    points = (_FINER * points.reshape(-1, 2) + 0.5).astype(np.int64)
    starts, ends = points, np.roll(points, -1, axis=0)
    walk = np.concatenate([_edge(a, b) for a, b in zip(starts, ends, strict=True)])
    before, after = walk[:-1], walk[1:]
    steps = before[:, 0] != after[:, 0]
    before, after = before[steps], after[steps]
    # a step between two fine columns crosses a pixel's centre line where it passes its middle
    x = np.where(after[:, 0] < before[:, 0], after[:, 0], after[:, 0] - 1)
    x = (x + 0.5) / _FINER - 0.5
    y = np.minimum(before[:, 1], after[:, 1])
    y = np.ceil(np.clip((y + 0.5) / _FINER - 0.5, 0, height)).astype(np.int64)
    at_centre = (np.floor(x) == x) & (x >= 0) & (x <= width - 1)
    # a crossing below the last row counts as one above the next column's first
    places = x[at_centre].astype(np.int64) * height + y[at_centre]
    crossings = np.bincount(places, minlength=height * width + 1)[: height * width]
    return (np.cumsum(crossings) % 2 == 1).reshape(width, height).T


def _edge(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points of the fine grid from one corner to the next, both included."""
    (x0, y0), (x1, y1) = start, end
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    longer = 0 if dx >= dy else 1
    length = max(dx, dy)
    # always walked towards growing coordinates, so that rounding does not depend on direction
    backwards = (start > end)[longer]
    low, high = (end, start) if backwards else (start, end)
    steps = np.arange(length + 1)
    slope = (high - low)[1 - longer] / length if length else 0.0
    edge = np.empty((length + 1, 2), np.int64)
    edge[:, longer] = low[longer] + steps
    edge[:, 1 - longer] = (low[1 - longer] + slope * steps + 0.5).astype(np.int64)
    return edge[::-1] if backwards else edge
