"""Text in pictures: a font that reads unicode, and words with coloured grounds."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (20, 20, 20)


# For Chinese, Japanese and Korean, where the machine has one of them.
_FALLBACKS = (
    *(f'Noto Sans {name}' for name in ('CJK SC', 'CJK JP', 'CJK KR', 'SC', 'JP', 'KR')),
    *('WenQuanYi Micro Hei', 'WenQuanYi Zen Hei', 'Droid Sans Fallback', 'Source Han Sans SC'),
    *('Microsoft YaHei', 'PingFang SC', 'Hiragino Sans GB', 'Arial Unicode MS', 'SimHei'),
)


@lru_cache(maxsize=1)
def fonts() -> dict[str, str]:
    """Family -> file: matplotlib's own DejaVu Sans, which is on every machine, and fallbacks."""
    found = {one.name: one.fname for one in reversed(font_manager.fontManager.ttflist)}
    own = {'DejaVu Sans': font_manager.findfont('DejaVu Sans')}
    return own | {name: found[name] for name in _FALLBACKS if name in found}


@lru_cache(maxsize=64)
def font(size: int, text: str = '') -> ImageFont.FreeTypeFont:
    """The first font that has all letters of a text; ``size`` of a line in pixels."""
    files = [file for file in fonts().values() if set(map(ord, text)) <= _letters(file)]
    return ImageFont.truetype([*files, *fonts().values()][0], size)


@lru_cache
def _letters(file: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(file).get_charmap())


class TextPiece(NamedTuple):
    """A piece of text with its look."""

    text: str
    ground: Colour = WHITE  # colour behind the text
    underline: Colour | None = None
    space_before: bool = True


def ink(ground: Colour) -> Colour:
    """Black or white, whichever is easier to read on ``ground`` (ITU-R BT.601 luma)."""
    luma = 0.299 * ground[0] + 0.587 * ground[1] + 0.114 * ground[2]
    return BLACK if luma > 140 else WHITE


def draw_text(
    pieces: Sequence[TextPiece], width: int, size: int, margin: int = 8, gap: int | None = None
) -> np.ndarray:
    """Set words in lines of a picture (height as needed, width, 3), RGB uint8.

    ``size`` of the font, ``margin`` (white) and ``gap`` between words (by default a space of the
    font) are in pixels.
    """
    line_height = round(size * 1.6)
    space = font(size).getlength(' ') if gap is None else gap
    pieces = [part for piece in pieces for part in _fit(piece, width - 2 * margin, size)]
    places, x, y = [], float(margin), margin
    for piece in pieces:
        step = space if piece.space_before and x > margin else 0.0
        length = font(size, piece.text).getlength(piece.text)
        if x + step + length > width - margin and x > margin:
            x, y, step = float(margin), y + line_height, 0.0
        places.append((x + step, y, length))
        x += step + length
    canvas = Image.new('RGB', (width, y + line_height + margin), WHITE)
    pen = ImageDraw.Draw(canvas)
    for piece, (left, top, length) in zip(pieces, places, strict=True):
        box = [left - 2, top, left + length + 2, top + line_height - 4]
        if piece.ground != WHITE:
            pen.rounded_rectangle(box, radius=4, fill=piece.ground)
        # anchor: middle of the line, so that all scripts share a base line
        middle = top + (line_height - 4) / 2
        letters = font(size, piece.text)
        pen.text((left, middle), piece.text, ink(piece.ground), font=letters, anchor='lm')
        if piece.underline is not None:
            pen.rectangle([left, box[3] - 1, left + length, box[3] + 1], fill=piece.underline)
    return np.asarray(canvas)


def _fit(piece: TextPiece, width: int, size: int) -> list[TextPiece]:
    """Break a word that is longer than a line."""
    parts, text, letters = [], piece.text, font(size, piece.text)
    while text or not parts:
        too_long = (n for n in range(2, len(text) + 1) if letters.getlength(text[:n]) > width)
        cut = next(too_long, len(text) + 1) - 1
        space = piece.space_before and not parts
        parts.append(piece._replace(text=text[:cut], space_before=space))
        text = text[cut:]
    return parts


def draw_legend(
    names: Sequence[str], colours: Sequence[Colour], width: int, size: int
) -> np.ndarray:
    """Names on grounds of their colours."""
    pieces = [TextPiece(f' {n} ', tuple(c)) for n, c in zip(names, colours, strict=True)]
    return draw_text(pieces, width, size, gap=8)
