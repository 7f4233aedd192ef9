"""Prediction with bounded memory, for any of mmseg's encoder-decoders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from .windows import average_by_rows


@dataclass(frozen=True)
class PredictionSettings:
    """The keys of ``test_cfg``, checked.

    Args:
        mode (str): 'whole' image at once, or 'slide' windows whose scores are averaged.
        crop_size (tuple[int, int], optional): Height and width of a window in pixels; needed for
            'slide', not used for 'whole'.
        stride (tuple[int, int], optional): Steps between windows, at most ``crop_size``.
        window_batch_size (int): Windows that go through the network at a time, whichever images
            of the batch they are from. It bounds memory; scores do not depend on it.
        keep_scores (bool): Leave ``seg_logits`` [classes, H, W] in the sample, as mmseg does.
            False keeps the labels alone: memory then does not grow with classes x pixels.
        class_chunk (int): Where scores are dropped: classes that are resized to the original
            image at a time. Labels do not depend on it.
        scores_on_cpu (bool): Sum up the windows' scores in the processor's memory, for images
            whose scores do not fit on the GPU.

    Raises:
        ValueError: A value is out of range, or a needed one is missing.
    """

    mode: str = 'whole'
    crop_size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    window_batch_size: int = 1
    keep_scores: bool = True
    class_chunk: int = 8
    scores_on_cpu: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ('whole', 'slide'):
            raise ValueError(f"expected test_cfg.mode to be 'whole' or 'slide', got {self.mode!r}")
        for name in ('window_batch_size', 'class_chunk'):
            if not _is_count(value := getattr(self, name)):
                raise ValueError(f'expected test_cfg.{name} to be an integer >= 1, got {value!r}')
        for name in ('keep_scores', 'scores_on_cpu'):
            if not isinstance(value := getattr(self, name), bool):
                raise ValueError(f'expected test_cfg.{name} to be True or False, got {value!r}')
        if self.mode == 'slide':
            self._check_windows()

    @classmethod
    def from_test_cfg(cls, test_cfg: Mapping | None) -> PredictionSettings:
        """Check a segmentor's ``test_cfg``; None means the whole image at once.

        Raises:
            ValueError: A key is unknown, or as for the class.
        """
        known = [field.name for field in fields(cls)]
        for key in test_cfg or {}:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f'; did you mean {close[0]!r}?' if close else ''
                raise ValueError(f'expected keys of test_cfg among {known}, but got {key!r}{hint}')
        return cls(**(test_cfg or {}))

    def _check_windows(self) -> None:
        for name in ('crop_size', 'stride'):
            value = getattr(self, name)
            pair = isinstance(value, (tuple, list)) and len(value) == 2
            if not pair or not all(map(_is_count, value)):
                raise ValueError(
                    f"expected test_cfg.{name} = (height, width) in pixels for mode='slide', "
                    f'but got {value!r}'
                )
        if any(step > side for step, side in zip(self.stride, self.crop_size, strict=True)):
            raise ValueError(
                f'expected test_cfg.stride <= crop_size, but got {tuple(self.stride)} and '
                f'{tuple(self.crop_size)}: pixels between the windows would never be looked at'
            )


class WindowedPrediction:
    """Mixed into an ``EncoderDecoder``: large images and long class lists in bounded memory.

    Sliding windows go through the network several at a time, and neither they nor the labels need
    scores of all classes at full size (``test_cfg.keep_scores=False``). Results are mmseg's.
    ``test_cfg`` is described by :class:`PredictionSettings`.
    """

    def __init__(self, *args, test_cfg: dict | None = None, **kwargs) -> None:
        PredictionSettings.from_test_cfg(test_cfg)
        test_cfg = ConfigDict({'mode': 'whole', **(test_cfg or {})})
        super().__init__(*args, test_cfg=test_cfg, **kwargs)

    @property
    def prediction_settings(self) -> PredictionSettings:
        """What ``test_cfg`` says now; it may have been changed since construction."""
        return PredictionSettings.from_test_cfg(self.test_cfg)

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        scores, end = None, 0
        for rows in self._score_rows(inputs, batch_img_metas):
            if rows.shape[2] == inputs.shape[2]:
                return rows
            if scores is None:
                scores = rows.new_empty(*rows.shape[:2], *inputs.shape[2:])
            scores[:, :, end : end + rows.shape[2]] = rows
            end += rows.shape[2]
            del rows  # before the next ones are made
        return scores

    def whole_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        scores = super().whole_inference(inputs, batch_img_metas)
        return scores.cpu() if self.prediction_settings.scores_on_cpu else scores

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Label normalised images [b, 3, H, W], at their original size where samples tell it.

        Samples receive ``pred_sem_seg`` [1, H, W] and, unless ``test_cfg.keep_scores`` is False,
        ``seg_logits`` [classes, H, W].
        """
        settings = self.prediction_settings
        metas = [sample.metainfo for sample in data_samples or []]
        resized = [m for m in metas if _restored_size(inputs.shape[2:], m) != tuple(m['ori_shape'])]
        if settings.keep_scores or settings.mode == 'whole' or resized:
            return super().predict(inputs, data_samples)
        metas = metas or [dict(ori_shape=inputs.shape[2:])] * len(inputs)
        # Labels row by row: scores of the whole image never exist. A loop's variable would keep
        # the rows before while the next ones are made.
        labels = list(map(self._winners, self._score_rows(inputs, metas)))
        return self._label(torch.cat(labels, dim=2), data_samples)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Labels (and scores, see ``keep_scores``) of the original images."""
        settings = self.prediction_settings
        if settings.keep_scores:
            return super().postprocess_result(seg_logits, data_samples)
        if data_samples is None:
            return self._label(self._winners(seg_logits), None)
        if seg_logits.shape[1] == 1:  # a threshold in place of classes; nothing to save
            for sample in super().postprocess_result(seg_logits, data_samples):
                del sample.seg_logits
            return data_samples
        for scores, sample in zip(seg_logits, data_samples, strict=True):
            scores = restore(scores, sample.metainfo)
            size, chunk = sample.ori_shape, settings.class_chunk
            label = winning_class(scores, size, chunk, self.align_corners)
            sample.pred_sem_seg = PixelData(data=label)
        return data_samples

    def _score_rows(self, inputs: Tensor, batch_img_metas: list[dict]) -> Iterator[Tensor]:
        settings = self.prediction_settings

        def predict(windows: Tensor, images: list[int]) -> Tensor:
            # mmseg's heads resize to this; were it no torch.Size, to pad_shape
            shape = dict(img_shape=windows.shape[2:])
            return self.encode_decode(windows, [{**batch_img_metas[i], **shape} for i in images])

        windows = settings.crop_size, settings.stride, settings.window_batch_size
        device = 'cpu' if settings.scores_on_cpu else None
        return average_by_rows(inputs, predict, *windows, device)

    def _winners(self, scores: Tensor) -> Tensor:
        """Scores [b, classes, H, W] -> labels [b, 1, H, W] of mmseg's type."""
        if scores.shape[1] > 1:
            return scores.argmax(dim=1, keepdim=True)
        return (scores.sigmoid() > self.decode_head.threshold).to(scores)

    @staticmethod
    def _label(labels: Tensor, data_samples: list[SegDataSample] | None) -> list[SegDataSample]:
        """Put labels [b, 1, H, W] of inputs that need no resizing into the samples."""
        data_samples = data_samples or [SegDataSample() for _ in labels]
        for label, sample in zip(labels, data_samples, strict=True):
            sample.pred_sem_seg = PixelData(data=restore(label, sample.metainfo))
        return data_samples


def restore(planes: Tensor, meta: Mapping) -> Tensor:
    """Cut padding off planes [..., H, W] and undo a flip, as ``postprocess_result`` does."""
    left, right, top, bottom = _padding(meta)
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


def _restored_size(size: Sequence[int], meta: Mapping) -> tuple[int, int]:
    """Height and width that :func:`restore` leaves of ``size``."""
    left, right, top, bottom = _padding(meta)
    return size[0] - top - bottom, size[1] - left - right


def _padding(meta: Mapping) -> Sequence[int]:
    return meta.get('img_padding_size', meta.get('padding_size', [0] * 4))


def winning_class(
    scores: Tensor, size: Sequence[int], class_chunk: int, align_corners: bool = False
) -> Tensor:
    """Arg-max over classes of bilinearly resized scores, a few classes at a time.

    Equal to ``interpolate(scores, size).argmax(0)``, the lowest class where several tie.

    Args:
        scores (Tensor): [classes, h, w].
        size (Sequence[int]): Height and width of the result.
        class_chunk (int): Classes resized at a time, >= 1.
        align_corners (bool): As for ``interpolate``.

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


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
