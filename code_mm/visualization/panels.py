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
    """Resize (H, W, 3) uint8 to ``size``; small pictures keep their pixels, without blur."""
    scale = size[0] / image.shape[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 3 else cv2.INTER_CUBIC
    return cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=method)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map (H, W) by nearest neighbour; any integer type."""
    return cv2.resize(labels.astype(np.int32), size[::-1], interpolation=cv2.INTER_NEAREST)


def below(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Put pictures (h, w, 3) in a column on white, aligned at their left sides."""
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate([_filled(picture, picture.shape[0], width) for picture in pictures])


def beside(pictures: Sequence[np.ndarray], gap: int = 8) -> np.ndarray:
    """Put pictures (h, w, 3) in a row on white, aligned at their tops, ``gap`` pixels apart."""
    height = max(picture.shape[0] for picture in pictures)
    parts = [_filled(picture, height, picture.shape[1] + gap) for picture in pictures]
    return np.concatenate(parts, axis=1)[:, :-gap]


def _filled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    right, under = width - picture.shape[1], height - picture.shape[0]
    return np.pad(picture, ((0, under), (0, right), (0, 0)), constant_values=255)


def check_labels(
    labels: np.ndarray,
    image: np.ndarray,
    classes: Sequence[str],
    palette: Sequence,
    ignore_index: int | None = None,
    title: str = 'the image',
) -> None:
    """Raise ValueError unless ``labels`` (H, W) fits the image and has classes with colours."""
    if len(classes) != len(palette):
        raise ValueError(f'expected a colour per class ({len(classes)}), but got {len(palette)}')
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f'expected labels of {title!r} with the shape of the image {image.shape[:2]}, '
            f'but got {labels.shape}'
        )
    wrong = sorted(set(np.unique(labels).tolist()) - {ignore_index} - set(range(len(classes))))
    if wrong:
        raise ValueError(
            f'expected labels of {title!r} below {len(classes)} (or {ignore_index}, ignored), '
            f'but got {wrong[:5]}'
        )
