"""Image, truth and the predictions of several models beside each other."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from .colour_regions import colour_regions
from .lettering import Colour, TextPiece, draw_legend, draw_text
from .panels import below, beside, check_image, panel_size, resize_image, resize_labels


def draw_side_by_side(
    image: np.ndarray,
    truth: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    classes: Sequence[str],
    palette: Sequence[Colour],
    ignore_index: int = 255,
    opacity: float = 0.75,
    panel: int = 256,
) -> np.ndarray:
    """Draw label maps over their image, with titles and a legend of the classes present.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        truth (np.ndarray, optional): (H, W) labels; None leaves it out.
        predictions (Mapping[str, np.ndarray]): Title -> (H, W) labels.
        classes (Sequence[str]): Names in label order.
        palette (Sequence[Colour]): RGB colours in label order.
        ignore_index (int): Label that is not coloured.
        opacity (float): Of the colours, in [0, 1].
        panel (int): Longer side of each image in the picture, in pixels.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.

    Raises:
        ValueError: If a label map's shape differs from the image's, a label has
            no class, or classes and palette differ in number.
    """
    check_image(image)
    if len(classes) != len(palette):
        raise ValueError(f'expected a colour per class ({len(classes)}), but got {len(palette)}')
    maps = {} if truth is None else {'truth': truth}
    maps.update(predictions)
    for title, labels in maps.items():
        check_labels(title, labels, image, len(classes), ignore_index)
    present = sorted({c for m in maps.values() for c in np.unique(m).tolist()} - {ignore_index})

    size = panel_size(image, panel)
    shown = resize_image(image, size)
    letter = max(12, panel // 18)
    paint = partial(
        colour_regions, shown, palette=palette, opacity=opacity, plain=ignore_index, outline=False
    )
    pictures = {title: paint(resize_labels(labels, size)) for title, labels in maps.items()}
    row = beside([_titled(t, p, letter) for t, p in {'image': shown, **pictures}.items()])
    if not present:
        return row
    names, colours = [classes[c] for c in present], [palette[c] for c in present]
    return below([row, draw_legend(names, colours, row.shape[1], letter)])


def _titled(title: str, picture: np.ndarray, size: int) -> np.ndarray:
    words = [TextPiece(word) for word in title.split()]
    return below([draw_text(words, picture.shape[1], size, margin=4), picture])


def check_labels(
    title: str, labels: np.ndarray, image: np.ndarray, num_classes: int, ignore_index: int
) -> None:
    """Raise ValueError unless ``labels`` (H, W) fits the image and its labels are classes."""
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f'expected labels of {title!r} with the shape of the image {image.shape[:2]}, '
            f'but got {labels.shape}'
        )
    wrong = sorted(set(np.unique(labels).tolist()) - {ignore_index} - set(range(num_classes)))
    if wrong:
        raise ValueError(
            f'expected labels of {title!r} below {num_classes} (or {ignore_index}, ignored), '
            f'but got {wrong[:5]}'
        )
