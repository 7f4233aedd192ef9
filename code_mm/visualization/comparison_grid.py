"""A table of pictures: one image per row, its truth and the models' label maps in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .class_colours import class_colours
from .lettering import Colour, TextPiece, draw_legend, draw_text
from .panels import below, check_image, panel_size, resize_image, resize_labels
from .side_by_side import check_labels

_GAP = 8
_OPACITY = 0.75


@dataclass
class ComparisonRow:
    """One image and what is shown beside it."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    maps: Mapping[str, np.ndarray]
    """Column title -> (H, W) labels; a title that other rows have may be missing."""
    note: str = ''
    """Text below the row: name, score."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Column title -> text below that label map."""


def draw_comparison(
    rows: Sequence[ComparisonRow],
    classes: Sequence[str],
    palette: Sequence[Colour],
    ignore_index: int = 255,
    background: int | None = None,
    distinct: bool = True,
    panel: int = 256,
) -> np.ndarray:
    """Draw label maps of several images and models with one legend (thesis Figs. 4.1, 4.5).

    Label maps lie over the image in grey, so that a colour is the same in every panel and in the
    legend, which names the classes that occur.

    Args:
        rows (Sequence[ComparisonRow]): At least one.
        classes (Sequence[str]): Names in label order.
        palette (Sequence[Colour]): The data set's RGB colours in label order.
        ignore_index (int): Label that is not coloured.
        background (int, optional): Another label that is not coloured.
        distinct (bool): See :func:`class_colours`.
        panel (int): Width of a panel, and its greatest height, in pixels.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.

    Raises:
        ValueError: If there is no row, a label map's shape differs from its image's, a label has
            no class, or classes and palette differ in number.
    """
    _check(rows, classes, palette, ignore_index)
    found = {c for row in rows for m in row.maps.values() for c in np.unique(m).tolist()}
    colours = class_colours(found - {ignore_index, background}, palette, distinct)
    titles = list(dict.fromkeys(title for row in rows for title in row.maps))

    letter = max(12, panel // 18)
    parts = [_texts(['image', *titles], panel, letter)]
    for row in rows:
        parts.append(_pictures(row, titles, colours, panel))
        if row.note or row.notes:
            texts = [row.note, *(row.notes.get(title, '') for title in titles)]
            parts.append(_texts(texts, panel, letter))
        else:
            parts.append(np.full((_GAP, 1, 3), 255, np.uint8))
    if colours:
        names = [classes[c] for c in colours]
        width = max(part.shape[1] for part in parts)
        parts.append(draw_legend(names, list(colours.values()), width, letter))
    return below(parts)


def paint_labels(
    image: np.ndarray,
    labels: np.ndarray,
    colours: Mapping[int, Colour],
    opacity: float = _OPACITY,
    outline: int = 1,
) -> np.ndarray:
    """Lay the colours of a label map over the image in grey, with white outlines.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        labels (np.ndarray): (H, W).
        colours (Mapping[int, Colour]): RGB of the labels that are painted; others stay grey.
        opacity (float): Of the colours, in [0, 1].
        outline (int): Width of the outlines in pixels, 0 for none.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.
    """
    grey = np.float32(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[..., None]
    picture = np.repeat(grey, 3, axis=2)
    masks = {label: labels == label for label in colours}
    for label, mask in masks.items():
        paint = np.float32(colours[label])
        picture[mask] = (1 - opacity) * picture[mask] + opacity * paint
    picture = np.round(picture).astype(np.uint8)
    for mask in masks.values() if outline else ():
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, (255, 255, 255), outline)
    return picture


def _check(
    rows: Sequence[ComparisonRow],
    classes: Sequence[str],
    palette: Sequence[Colour],
    ignore_index: int,
) -> None:
    if not rows:
        raise ValueError('expected at least one image to draw, but got none')
    if len(classes) != len(palette):
        raise ValueError(f'expected a colour per class ({len(classes)}), but got {len(palette)}')
    for row in rows:
        check_image(row.image)
        for title, labels in row.maps.items():
            check_labels(title, labels, row.image, len(classes), ignore_index)


def _pictures(
    row: ComparisonRow, titles: Sequence[str], colours: Mapping[int, Colour], panel: int
) -> np.ndarray:
    size = panel_size(row.image, panel)
    shown = resize_image(row.image, size)
    pictures = [shown]
    for title in titles:
        labels = row.maps.get(title)
        if labels is None:
            pictures.append(np.full_like(shown, 255))
        else:
            pictures.append(paint_labels(shown, resize_labels(labels, size), colours))
    return _in_columns(pictures, panel)


def _texts(texts: Sequence[str], panel: int, letter: int) -> np.ndarray:
    pieces = [[TextPiece(word) for word in text.split()] for text in texts]
    return _in_columns([draw_text(words, panel, letter, margin=4) for words in pieces], panel)


def _in_columns(pictures: Sequence[np.ndarray], panel: int) -> np.ndarray:
    """Put pictures of at most ``panel`` pixels width into columns of exactly that width."""
    height = max(picture.shape[0] for picture in pictures)
    width = panel * len(pictures) + _GAP * (len(pictures) - 1)
    canvas = np.full((height, width, 3), 255, np.uint8)
    for column, picture in enumerate(pictures):
        left = column * (panel + _GAP) + (panel - picture.shape[1]) // 2
        canvas[: picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas
