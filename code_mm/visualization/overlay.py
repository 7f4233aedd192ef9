"""One segmented image: classes in colour over it, and a legend below it."""

from collections.abc import Sequence

import numpy as np

from .colour_regions import colour_regions
from .lettering import WHITE, Colour, TextPiece, draw_text
from .panels import below, check_image, panel_size, resize_image, resize_labels

# Smaller images are enlarged, so that the legend can be read.
_MIN_LONG_SIDE = 480


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Colour],
    opacity: float = 0.6,
    plain: int | None = None,
    whole_legend: bool = False,
) -> np.ndarray:
    """Colour the classes of an image, outline their regions, and name them in a legend.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        labels (np.ndarray): (H, W) integers.
        classes (Sequence[str]): Names in label order. The font has Latin, Greek, Cyrillic and
            more, but no Chinese, Japanese or Korean, which is drawn as boxes.
        palette (Sequence[Colour]): RGB colours in label order.
        opacity (float): Of the colours, in [0, 1].
        plain (int, optional): Label that is left uncoloured, such as the background's.
        whole_legend (bool): Name all classes, without shares: every frame of a video then has the
            same size. Otherwise the classes present, largest share first.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB: the picture with the legend below it. An image whose
        longer side is under 480 pixels is enlarged to that.

    Raises:
        ValueError: Shapes do not fit, or a label has no class.
    """
    check_image(image)
    _check(image, labels, classes, palette, opacity)
    longest = max(*image.shape[:2], _MIN_LONG_SIDE)
    size = panel_size(image, longest)
    if size != image.shape[:2]:
        image, labels = resize_image(image, size), resize_labels(labels, size)
    picture = colour_regions(image, labels, palette, opacity, plain)
    letter = max(14, longest // 45)
    width = max(picture.shape[1], 12 * letter)
    legend = _legend(labels, classes, palette, plain, whole_legend)
    return below([picture, draw_text(legend, width, letter, gap=8)])


def _legend(
    labels: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Colour],
    plain: int | None,
    whole: bool,
) -> list[TextPiece]:
    shares = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    shown = range(len(classes)) if whole else np.argsort(-shares, kind='stable')
    pieces = []
    for label in shown:
        if not whole and not shares[label]:
            continue
        text = classes[label] if whole else f'{classes[label]} {share_text(shares[label])}'
        ground = WHITE if label == plain else tuple(palette[label])
        pieces.append(TextPiece(f' {text} ', ground))
    return pieces


def share_text(share: float) -> str:
    """A share in [0, 1] in percent: ``'34 %'``, ``'0.7 %'``, ``'<0.1 %'``."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return '<0.1 %'
    return f'{percent:.0f} %' if percent >= 9.95 or not percent else f'{percent:.1f} %'


def _check(
    image: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Colour],
    opacity: float,
) -> None:
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f'expected labels of the shape of the image {image.shape[:2]}, but got {labels.shape}'
        )
    if len(classes) != len(palette):
        raise ValueError(f'expected a colour per class ({len(classes)}), but got {len(palette)}')
    if not 0 <= opacity <= 1:
        raise ValueError(f'expected an opacity in [0, 1], but got {opacity}')
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(
            f'expected labels in 0 .. {len(classes) - 1}, but got {labels.min()} .. {labels.max()}'
        )
