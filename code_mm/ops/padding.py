"""Symmetric zero padding to a multiple of the patch size, and its inverse."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Padding(NamedTuple):
    """Pixels that were added on each side of an image."""

    left: int
    right: int
    top: int
    bottom: int


def pad_to_multiple(image: Tensor, multiple: int) -> tuple[Tensor, Padding]:
    """Pad the last two axes with zeros on both sides up to a multiple.

    The right and the bottom get the odd pixel. On a normalised image zero is the mean colour.
    :func:`crop` undoes it.
    """
    height, width = image.shape[-2:]
    add_h, add_w = -height % multiple, -width % multiple
    left, top = add_w // 2, add_h // 2
    padding = Padding(left, add_w - left, top, add_h - top)
    return F.pad(image, padding), padding


def crop(x: Tensor, padding: Padding) -> Tensor:
    """Cut ``padding`` off a tensor [..., H, W] of the padded image's size (a view)."""
    height, width = x.shape[-2:]
    return x[..., padding.top : height - padding.bottom, padding.left : width - padding.right]
