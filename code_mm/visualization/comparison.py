"""A table of pictures: one image per row, its truth and the models' label maps in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .colours import distinct_palette, paint_labels
from .lettering import WHITE, Colour, TextPiece, draw_legend, draw_text
from .panels import below, beside, check_labels, panel_size, resize_image, resize_labels

_GAP = np.full((8, 1, 3), 255, np.uint8)  # between rows without text
_OPACITY = 0.75


@dataclass
class ComparisonRow:
    """One image and what is shown beside it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    maps: Mapping[str, np.ndarray]  # column title -> (H, W) labels; those of other rows may be more
    note: str = ''  # text below the image: name, score
    notes: Mapping[str, str] = field(default_factory=dict)  # column title -> text below that map


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

    Label maps lie over the grey image: a colour is the same in every panel and in the legend.

    Args:
        rows (Sequence[ComparisonRow]): At least one.
        classes (Sequence[str]): Names in label order, as ``palette`` (RGB).
        palette (Sequence[Colour]): The data set's.
        ignore_index (int): Label that is not coloured.
        background (int, optional): Another label that is not coloured.
        distinct (bool): Colours of ``distinct_palette`` for the classes that occur; data sets give
            neighbours in the list alike colours, and black or grey to some.
        panel (int): Width of a panel, and its greatest height, in pixels.

    Raises:
        ValueError: There is no row, shapes do not fit, or a label has no class or colour.
    """
    if not rows:
        raise ValueError('expected at least one image to draw, but got none')
    found = set()
    for row in rows:
        for title, labels in row.maps.items():
            check_labels(labels, row.image, classes, palette, ignore_index, title)
            found |= set(np.unique(labels).tolist())
    present = sorted(found - {ignore_index, background})
    chosen = distinct_palette(len(present)) if distinct else [tuple(palette[c]) for c in present]
    colours = dict(zip(present, chosen, strict=True))
    titles = list(dict.fromkeys(title for row in rows for title in row.maps))

    letter = max(12, panel // 18)
    parts = [_texts(['image', *titles], panel, letter)]
    for row in rows:
        parts.append(_pictures(row, titles, colours, panel))
        texts = [row.note, *(row.notes.get(title, '') for title in titles)]
        parts.append(_texts(texts, panel, letter) if any(texts) else _GAP)
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
    """:func:`draw_comparison` of one image, in the data set's own colours; truth may be None."""
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
    centred = []
    for picture in pictures:
        left, odd = divmod(panel - picture.shape[1], 2)
        sides = (0, 0), (left, left + odd), (0, 0)
        centred.append(np.pad(picture, sides, constant_values=255))
    return beside(centred)
