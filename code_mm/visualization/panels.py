"""Scale pictures to a readable size and put them together."""

from collections.abc import Sequence

import cv2
import numpy as np


def panel_size(image: np.ndarray, longest: int) -> tuple[int, int]:
    """Height and width of an image whose longer side is ``longest`` pixels."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an RGB image; small pictures keep their pixels visible instead of being blurred.

    Args:
        image (np.ndarray): (H, W, 3) uint8.
        size (tuple[int, int]): Height and width wanted.
    """
    scale = size[0] / image.shape[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 3 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=method)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map (H, W) by nearest neighbour; any integer type."""
    return cv2.resize(labels.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST)


def beside(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Put pictures in a row on white, aligned at their tops.

    Args:
        pictures (Sequence[np.ndarray]): (H_i, W_i, 3) uint8.
        gap (int): Pixels between them.
    """
    height = max(picture.shape[0] for picture in pictures)
    parts = []
    for picture in pictures:
        below = height - picture.shape[0]
        parts.append(np.pad(picture, ((0, below), (0, 0), (0, 0)), constant_values=255))
        parts.append(np.full((height, gap, 3), 255, np.uint8))
    return np.concatenate(parts[:-1], axis=1)


def below(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures in a column on white, aligned at their left sides."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate(
        [
            np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255)
            for p in pictures
        ]
    )


def check_image(image: np.ndarray, name: str = 'image') -> None:
    """Raise ValueError unless ``image`` is a uint8 RGB picture (H, W, 3)."""
    ok = isinstance(image, np.ndarray) and image.dtype == np.uint8
    if not (ok and image.ndim == 3 and image.shape[2] == 3 and image.size):
        got = f'{getattr(image, "dtype", type(image))} {getattr(image, "shape", "")}'
        raise ValueError(f'expected {name} as a uint8 array (H, W, 3) in RGB, but got {got}')
