"""Scores of overlapping windows, several at a time, averaged row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Window(NamedTuple):
    """A window of one image of a batch, in pixels."""

    image: int
    top: int
    bottom: int
    left: int
    right: int


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along one axis, by mmseg's rule.

    Windows are ``stride`` apart; the last one is shifted inwards to end with the image. All are
    ``min(crop, length)`` long.
    """
    count = max(length - crop + stride - 1, 0) // stride + 1
    return [max(min(i * stride + crop, length) - crop, 0) for i in range(count)]


def average_by_rows(
    images: Tensor,
    predict: Callable[[Tensor, list[int]], Tensor],
    crop_size: Sequence[int],
    stride: Sequence[int],
    window_batch_size: int = 1,
    device: torch.device | str | None = None,
) -> Iterator[Tensor]:
    """Mean scores of sliding windows, handed out as soon as rows of pixels are complete.

    Windows run from top to bottom and only the rows that further windows may still touch are
    kept, so that memory grows with the width of the image but not with its height.

    Args:
        images (Tensor): [b, 3, H, W].
        predict (Callable): Windows [n, 3, h, w] and the numbers of the images they are from ->
            scores [n, classes, h, w]; n <= ``window_batch_size``.
        crop_size (Sequence[int]): Height and width of a window; smaller images are one window.
        stride (Sequence[int]): Vertical and horizontal step, at most ``crop_size``.
        window_batch_size (int): Windows predicted at a time.
        device (torch.device | str, optional): Where scores are summed up; where ``predict``
            leaves them by default.

    Yields:
        Tensor: Scores [b, classes, rows, W], from the top down, H rows in all.
    """
    tops, lefts = (
        window_starts(length, crop, step)
        for length, crop, step in zip(images.shape[-2:], crop_size, stride, strict=True)
    )
    height, width = (min(pair) for pair in zip(crop_size, images.shape[-2:], strict=True))
    corners = product(tops, range(len(images)), lefts)
    windows = [Window(i, top, top + height, left, left + width) for top, i, left in corners]
    count = window_batch_size
    batches = [windows[i : i + count] for i in range(0, len(windows), count)]
    rows_seen = _coverage(images.shape[-2], tops, height)[:, None]
    columns_seen = _coverage(images.shape[-1], lefts, width)
    open_rows = _OpenRows(len(images), images.shape[-1])
    for batch, following in pairwise([*batches, None]):
        pixels = [images[w.image, :, w.top : w.bottom, w.left : w.right] for w in batch]
        # no name for the scores: they would live on while the next windows are predicted
        open_rows.add(batch, predict(torch.stack(pixels), [w.image for w in batch]), device)
        first, end = open_rows.first, following[0].top if following else images.shape[-2]
        if end > first:
            seen = rows_seen[first:end] * columns_seen
            yield open_rows.above(end).div_(seen.to(open_rows.total.device))
            open_rows.drop(end)


class _OpenRows:
    """Sums of scores [b, classes, rows, W] of the rows that are not complete yet."""

    def __init__(self, num_images: int, width: int) -> None:
        self.first, self.num_images, self.width = 0, num_images, width
        self.total = None

    def add(
        self, windows: Sequence[Window], scores: Tensor, device: torch.device | str | None
    ) -> None:
        """Add the scores of windows [n, classes, h, w]; the last window reaches lowest."""
        # sums of half-precision scores would lose digits
        dtype = torch.promote_types(scores.dtype, torch.float32)
        scores = scores.to(device or scores.device, dtype)
        if self.total is None:
            self.total = scores.new_zeros(self.num_images, scores.shape[1], 0, self.width)
        missing = windows[-1].bottom - self.first - self.total.shape[2]
        if missing > 0:
            self.total = F.pad(self.total, (0, 0, 0, missing))
        for window, own in zip(windows, scores, strict=True):
            rows = slice(window.top - self.first, window.bottom - self.first)
            self.total[window.image, :, rows, window.left : window.right] += own

    def above(self, end: int) -> Tensor:
        """The rows above ``end``, not copied."""
        return self.total[:, :, : end - self.first]

    def drop(self, end: int) -> None:
        """Forget the rows above ``end``."""
        # a slice alone would keep the memory of all rows
        self.total, self.first = self.total[:, :, end - self.first :].clone(), end


def _coverage(length: int, starts: Sequence[int], crop: int) -> Tensor:
    """How many windows see each pixel of an axis: [length]."""
    seen = torch.zeros(length)
    for start in starts:
        seen[start : start + crop] += 1
    return seen
