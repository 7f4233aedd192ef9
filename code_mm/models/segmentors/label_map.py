"""The winning class of every pixel, without all scores at the original size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def restore(planes: Tensor, meta: Mapping) -> Tensor:
    """Cut padding off and undo a flip, as mmseg's ``postprocess_result`` does.

    Args:
        planes (Tensor): Scores or labels [..., H, W] of a network's input.
        meta (Mapping): ``img_padding_size`` or ``padding_size`` (left, right, top, bottom), and
            ``flip`` with ``flip_direction``, of a data sample; each may be missing.
    """
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    height, width = planes.shape[-2:]
    planes = planes[..., top : height - bottom, left : width - right]
    if meta.get('flip'):
        direction = meta.get('flip_direction')
        if direction not in ('horizontal', 'vertical'):
            raise ValueError(
                f"expected flip_direction 'horizontal' or 'vertical', but got {direction!r}"
            )
        planes = planes.flip(-1 if direction == 'horizontal' else -2)
    return planes


def restored_size(size: Sequence[int], meta: Mapping) -> tuple[int, int]:
    """Height and width that :func:`restore` leaves of ``size``."""
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    return size[0] - top - bottom, size[1] - left - right


def winning_class(
    scores: Tensor, size: Sequence[int], class_chunk: int, align_corners: bool = False
) -> Tensor:
    """Arg-max over classes of bilinearly resized scores, a few classes at a time.

    Equal to ``interpolate(scores, size).argmax(0)``, the lowest class where several tie.

    Args:
        scores (Tensor): [classes, h, w].
        size (Sequence[int]): Height and width of the result.
        class_chunk (int): Classes resized at a time, >= 1.
        align_corners (bool): See ``torch.nn.functional.interpolate``.

    Returns:
        Tensor: Class indices [1, *size], int64.
    """
    best = label = None
    for start in range(0, len(scores), class_chunk):
        part = scores[None, start : start + class_chunk].contiguous()
        part = F.interpolate(part, tuple(size), mode='bilinear', align_corners=align_corners)[0]
        value, index = part.max(dim=0, keepdim=True)
        if best is None:
            best, label = value, index
            continue
        # a later class has to be better, not as good; NaN wins, as it does in argmax
        better = ~((value <= best) | best.isnan())
        best = torch.where(better, value, best)
        label = torch.where(better, index + start, label)
    return label
