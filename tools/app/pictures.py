"""Segmented images as HTML: names under the pointer, a legend that follows light and dark."""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np

from code_mm.apis.results import Segmentation
from code_mm.visualization.lettering import Colour
from code_mm.visualization.overlay import share_text

CSS = """
.found { display: flex; flex-wrap: wrap; gap: 1rem; }
.found figure { margin: 0; flex: 1 1 20rem; max-width: 60rem; }
.found svg { width: 100%; max-height: 75vh; display: block; border-radius: 6px; }
.found path { stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.found svg:has(path:hover) path:not(:hover) { fill-opacity: .1; }
.found figcaption { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin-top: .5rem; }
.found figcaption b { flex-basis: 100%; font-weight: 600; overflow-wrap: anywhere; }
.found i { display: inline-block; width: .9em; height: .9em; border-radius: 3px; margin-right: .4em;
  vertical-align: -.1em; border: 1px solid #8888; }
.notes { margin-top: .8rem; color: var(--body-text-color-subdued); }
.notes li { margin-left: 1.2em; list-style: disc; }
"""


def figure(found: Segmentation, opacity: float, title: str) -> str:
    """An image with its classes in colour; each region tells name and share under the pointer.

    Args:
        found (Segmentation): Its background stays uncoloured.
        opacity (float): Of the colours, in [0, 1].
        title (str): Above the legend.
    """
    plain = None if found.query.background_threshold is None else 0
    (height, width), shares = found.labels.shape, found.shares
    parts, legend = [], []
    order = sorted(range(len(shares)), key=lambda label: -shares[found.query.names[label]])
    for label in order:
        name, colour = found.query.names[label], found.query.colours[label]
        if not shares[name]:
            continue
        said = f'{escape(name)} {share_text(shares[name])}'
        swatch = 'transparent' if label == plain else _css(colour)
        legend.append(f'<span><i style="background:{swatch}"></i>{said}</span>')
        if label != plain:
            outline = _outline(found.labels == label)
            parts.append(
                f'<path d="{outline}" fill="{_css(colour)}" stroke="{_css(colour)}" '
                f'fill-opacity="{opacity:g}"><title>{said}</title></path>'
            )
    # a tiny picture keeps its pixels
    scaling = 'pixelated' if max(height, width) < 200 else 'auto'
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f'<image href="{_data(found.image)}" width="{width}" height="{height}" '
        f'style="image-rendering:{scaling}"/>{"".join(parts)}</svg>'
        f'<figcaption><b>{escape(title)}</b>{"".join(legend)}</figcaption></figure>'
    )


def figures(parts: Sequence[str]) -> str:
    return f'<div class="found">{"".join(parts)}</div>'


def notes(sentences: Sequence[str]) -> str:
    """Sentences below the pictures."""
    items = ''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)
    return f'<ul class="notes">{items}</ul>' if items else ''


def _css(colour: Colour) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*colour)


def _data(image: np.ndarray) -> str:
    kind = '.png' if max(image.shape[:2]) < 200 else '.jpg'
    content = cv2.imencode(kind, image[..., ::-1])[1].tobytes()
    return f'data:image/{kind[1:]};base64,{base64.b64encode(content).decode()}'


def _outline(mask: np.ndarray) -> str:
    """The outlines of a mask (H, W), holes included, as an SVG path that goes round its pixels."""
    # doubled, contours can run along the edges of pixels rather than through their centres
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)
    found, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = (
        'M' + 'L'.join(f'{x / 2 + 0.25:g} {y / 2 + 0.25:g}' for x, y in ring[:, 0]) + 'Z'
        for ring in found
    )
    return ''.join(rings)
