"""Scores of overlapping windows, several at a time, averaged row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor


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
    size = images.shape[-2:]
    tops, lefts = map(window_starts, size, crop_size, stride)
    height, width = map(min, crop_size, size)
    corners = list(product(tops, range(len(images)), lefts))
    count = window_batch_size
    batches = [corners[i : i + count] for i in range(0, len(corners), count)]
    rows_seen = _coverage(size[0], tops, height)[:, None]
    columns_seen = _coverage(size[1], lefts, width)
    # sums of scores [b, classes, rows, W] from the row ``first`` on, down to the lowest window
    first, total = 0, None
    for batch, following in pairwise([*batches, None]):
        pixels = [images[i, :, y : y + height, x : x + width] for y, i, x in batch]
        scores = predict(torch.stack(pixels), [i for _, i, _ in batch])
        # sums of half-precision scores would lose digits
        scores = scores.to(device or scores.device, torch.promote_types(scores.dtype, torch.float))
        if total is None:
            total = scores.new_zeros(len(images), scores.shape[1], 0, size[1])
        missing = batch[-1][0] + height - first - total.shape[2]
        if missing > 0:
            total = F.pad(total, (0, 0, 0, missing))
        for (y, i, x), own in zip(batch, scores, strict=True):
            total[i, :, y - first : y - first + height, x : x + width] += own
        del pixels, scores, own  # they would live on while the next windows are predicted
        end = following[0][0] if following else size[0]
        if end > first:
            seen = rows_seen[first:end] * columns_seen
            yield total[:, :, : end - first].div_(seen.to(total.device))
            # a slice alone would keep the memory of all rows
            total, first = total[:, :, end - first :].clone(), end


def _coverage(length: int, starts: Sequence[int], crop: int) -> Tensor:
    """How many windows see each pixel of an axis: [length]."""
    seen = torch.zeros(length)
    for start in starts:
        seen[start : start + crop] += 1
    return seen
