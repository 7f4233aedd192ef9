"""The masks of COCO's annotation files."""

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as coco


def decode_mask(
    segmentation: Sequence[Sequence[float]] | Mapping, height: int, width: int
) -> np.ndarray:
    """Decode the ``segmentation`` of an annotation with COCO's own tools.

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
        size, counts = list(segmentation['size']), segmentation['counts']
        if size != [height, width]:
            raise ValueError(
                f'expected a mask of the size of its image [{height}, {width}], but got {size}'
            )
        runs = dict(size=size, counts=counts)
        if isinstance(counts, Sequence) and not isinstance(counts, (str, bytes)):
            if sum(counts) != height * width or min(counts, default=0) < 0:
                raise ValueError(
                    f'expected run lengths with the sum {height} * {width} = {height * width}, but '
                    f'got {sum(counts)}; the file is damaged or belongs to another image'
                )
            runs = coco.frPyObjects(dict(size=size, counts=list(counts)), height, width)
        return coco.decode(runs).astype(bool)
    # COCO's tools would take four numbers for a box, and ignore an odd one
    for polygon in segmentation:
        if len(polygon) % 2 or len(polygon) < 6:
            raise ValueError(
                'expected a polygon [x0, y0, x1, y1, ...] of at least three points, but got '
                f'{len(polygon)} numbers'
            )
    if not len(segmentation):
        return np.zeros((height, width), bool)
    polygons = [np.asarray(polygon, np.float64).tolist() for polygon in segmentation]
    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)
