"""Random crop of a random size and shape, resized to one size, mirrored at random."""

import math

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from code_mm.registry import TRANSFORMS

_ATTEMPTS = 10


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Cut out a random rectangle and resize it to ``size`` (thesis §4.2).

    The area is drawn uniformly, then the logarithm of width / height, then the place. Where ten
    draws do not fit into the image, the largest central rectangle of an allowed shape is taken.
    With ``flip_prob`` the result is mirrored left to right, which costs less here than in mmcv's
    ``RandomFlip``.

    Modified Keys:

    - img, img_shape
    - gt_seg_map and other ``seg_fields`` (optional), resized by 'nearest'

    Added Keys, with ``flip_prob``:

    - flip (bool), flip_direction (str): 'horizontal', None where not flipped

    Args:
        size (int or tuple[int, int]): Of the result in pixels, one number or (width, height).
        scale (tuple[float, float]): Least and largest area of the rectangle, fractions of the
            image in (0, 1].
        ratio (tuple[float, float]): Least and largest width / height of the rectangle, positive.
        flip_prob (float): Probability of mirroring, in [0, 1]; 0 leaves it to another transform.
        interpolation (str): Of Pillow, which smooths before it shrinks: 'bilinear' as in the
            authors' release, 'bicubic', 'lanczos' …
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.9, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip_prob: float = 0.0,
        interpolation: str = 'bilinear',
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f'expected size as one or two positive numbers, but got {size!r}')
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f'expected scale = (least, largest) in (0, 1], but got {scale!r}')
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f'expected ratio = (least, largest), both > 0, but got {ratio!r}')
        if not 0 <= flip_prob <= 1:
            raise ValueError(f'expected flip_prob in [0, 1], but got {flip_prob}')
        self.scale, self.ratio, self.flip_prob = scale, ratio, flip_prob
        self.interpolation = interpolation

    def rectangle(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw a rectangle (top, left, height, width) in an image, in pixels."""
        log_ratio = np.log(self.ratio)
        for _ in range(_ATTEMPTS):
            area = height * width * np.random.uniform(*self.scale)
            ratio = math.exp(np.random.uniform(*log_ratio))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top = np.random.randint(0, height - h + 1)
                left = np.random.randint(0, width - w + 1)
                return int(top), int(left), h, w
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w = max(1, min(width, round(height * ratio)))
        h = max(1, min(height, round(width / ratio)))
        return (height - h) // 2, (width - w) // 2, h, w

    def transform(self, results: dict) -> dict:
        """Crop, resize and mirror the image, and segmentation maps where there are any."""
        top, left, h, w = self.rectangle(*results['img'].shape[:2])
        window = np.s_[top : top + h, left : left + w]
        results['img'] = mmcv.imresize(
            np.ascontiguousarray(results['img'][window]),
            self.size,
            interpolation=self.interpolation,
            backend='pillow',
        )
        results['img_shape'] = results['img'].shape[:2]
        maps = results.get('seg_fields', [])
        for key in maps:
            results[key] = mmcv.imresize(results[key][window], self.size, interpolation='nearest')
        if self.flip_prob:
            results['flip'] = bool(np.random.random() < self.flip_prob)
            # as mmcv's RandomFlip: the key is there in either case, so that samples collate
            results['flip_direction'] = 'horizontal' if results['flip'] else None
            if results['flip']:
                for key in ('img', *maps):
                    results[key] = cv2.flip(results[key], 1)
        return results
