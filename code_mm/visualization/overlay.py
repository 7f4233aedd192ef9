"""One segmented image: classes in colour over it, and a legend below it."""

from collections.abc import Sequence

import numpy as np

from .colours import paint_labels
from .lettering import WHITE, Colour, TextPiece, draw_text
from .panels import below, check_labels, panel_size, resize_image, resize_labels

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
            more; Chinese, Japanese and Korean are boxes unless the machine has a font for them.
        palette (Sequence[Colour]): RGB colours in label order.
        opacity (float): Of the colours, in [0, 1].
        plain (int, optional): Label that is left uncoloured, such as the background's.
        whole_legend (bool): Name all classes, without shares: every frame of a video then has the
            same size. Otherwise the classes present, largest share first.

    Raises:
        ValueError: Shapes do not fit, or a label has no class or colour.
    """
    check_labels(labels, image, classes, palette)
    if not 0 <= opacity <= 1:
        raise ValueError(f'expected an opacity in [0, 1], but got {opacity}')
    longest = max(*image.shape[:2], _MIN_LONG_SIDE)
    size = panel_size(image, longest)
    if size != image.shape[:2]:
        image, labels = resize_image(image, size), resize_labels(labels, size)
    colours = {label: tuple(colour) for label, colour in enumerate(palette) if label != plain}
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    present = {label: colours[label] for label in np.flatnonzero(counts).tolist() if label != plain}
    picture = paint_labels(image, labels, present, opacity)

    if whole_legend:
        names = {label: f' {name} ' for label, name in enumerate(classes)}
    else:
        found = [label for label in np.argsort(-counts, kind='stable') if counts[label]]
        names = {c: f' {classes[c]} {share_text(counts[c] / labels.size)} ' for c in found}
    legend = [TextPiece(name, colours.get(label, WHITE)) for label, name in names.items()]
    letter = max(14, longest // 45)
    width = max(picture.shape[1], 12 * letter)
    return below([picture, draw_text(legend, width, letter, gap=8)])


def share_text(share: float) -> str:
    """A share in [0, 1] in percent: ``'34 %'``, ``'0.7 %'``, ``'<0.1 %'``."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return '<0.1 %'
    return f'{percent:.0f} %' if percent >= 9.95 or not percent else f'{percent:.1f} %'
