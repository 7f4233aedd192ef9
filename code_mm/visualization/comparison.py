"""A table of pictures: one image per row, its truth and the models' label maps in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .colours import class_colours, paint_labels
from .lettering import WHITE, Colour, TextPiece, draw_legend, draw_text
from .panels import (
    below,
    check_image,
    check_labels,
    check_palette,
    panel_size,
    resize_image,
    resize_labels,
)

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
    """Text below the image: name, score."""
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
    if not rows:
        raise ValueError('expected at least one image to draw, but got none')
    check_palette(classes, palette)
    found = set()
    for row in rows:
        check_image(row.image)
        for title, labels in row.maps.items():
            check_labels(labels, row.image, len(classes), ignore_index, title)
            found |= set(np.unique(labels).tolist())
    colours = class_colours(found - {ignore_index, background}, palette, distinct)
    titles = list(dict.fromkeys(title for row in rows for title in row.maps))

    letter = max(12, panel // 18)
    parts = [_texts(['image', *titles], panel, letter)]
    for row in rows:
        parts.append(_pictures(row, titles, colours, panel))
        texts = [row.note, *(row.notes.get(title, '') for title in titles)]
        gap = np.full((_GAP, 1, 3), 255, np.uint8)
        parts.append(_texts(texts, panel, letter) if any(texts) else gap)
    if colours:
        names = [classes[label] for label in colours]
        parts.append(draw_legend(names, list(colours.values()), parts[0].shape[1], letter))
    return below(parts)


def draw_side_by_side(
    image: np.ndarray,
    truth: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    classes: Sequence[str],
    palette: Sequence[Colour],
    panel: int = 256,
) -> np.ndarray:
    """:func:`draw_comparison` of one image, in the data set's own colours.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        truth (np.ndarray, optional): (H, W) labels; None leaves it out.
        predictions (Mapping[str, np.ndarray]): Title -> (H, W) labels.
        classes (Sequence[str]): Names in label order.
        palette (Sequence[Colour]): RGB colours in label order.
        panel (int): Width of a panel, and its greatest height, in pixels.
    """
    maps = {} if truth is None else {'truth': truth}
    row = ComparisonRow(image, {**maps, **predictions})
    return draw_comparison([row], classes, palette, distinct=False, panel=panel)


def _pictures(
    row: ComparisonRow, titles: Sequence[str], colours: Mapping[int, Colour], panel: int
) -> np.ndarray:
    size = panel_size(row.image, panel)
    shown = resize_image(row.image, size)
    grey = cv2.cvtColor(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pictures = [shown]
    for title in titles:
        labels = row.maps.get(title)
        if labels is None:
            pictures.append(np.full_like(shown, 255))
        else:
            labels = resize_labels(labels, size)
            pictures.append(paint_labels(grey, labels, colours, _OPACITY, outline=WHITE))
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
