"""Regions of a label map in colour over their image."""

from collections.abc import Sequence

import numpy as np

from .lettering import Colour


def colour_regions(
    image: np.ndarray,
    labels: np.ndarray,
    palette: Sequence[Colour],
    opacity: float,
    plain: int | None = None,
    outline: bool = True,
) -> np.ndarray:
    """Colour the regions of an image.

    Args:
        image (np.ndarray): (H, W, 3) uint8 RGB.
        labels (np.ndarray): (H, W) integers.
        palette (Sequence[Colour]): RGB colours in label order.
        opacity (float): Of the colours, in [0, 1].
        plain (int, optional): Label that is left uncoloured and needs no colour.
        outline (bool): Draw the regions' inner borders opaque.

    Returns:
        np.ndarray: (H, W, 3) uint8 RGB.
    """
    alpha = np.full(labels.shape, opacity, np.float32)
    if outline:
        alpha[_inner_borders(labels)] = 1.0
    if plain is not None:
        alpha[labels == plain] = 0.0
        labels = np.where(labels == plain, 0, labels)
    colours = np.asarray(palette, np.float32)[labels]
    alpha = alpha[..., None]
    return np.round(image * (1 - alpha) + colours * alpha).astype(np.uint8)


def _inner_borders(labels: np.ndarray) -> np.ndarray:
    """Pixels with a neighbour (of four) of another label."""
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    border = np.zeros(labels.shape, bool)
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border
