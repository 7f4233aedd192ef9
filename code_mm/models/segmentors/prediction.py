"""Prediction with bounded memory, for any of mmseg's encoder-decoders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from code_mm.ops import crop
from code_mm.ops.padding import Padding
from code_mm.registry import MODELS

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
        slide, pair = self.mode == 'slide', '(height, width) in pixels'
        for name, valid, expected in (
            ('mode', self.mode in ('whole', 'slide'), "'whole' or 'slide'"),
            ('crop_size', not slide or _is_size(self.crop_size), pair),
            ('stride', not slide or _is_size(self.stride), pair),
            ('window_batch_size', _is_count(self.window_batch_size), 'an integer >= 1'),
            ('keep_scores', isinstance(self.keep_scores, bool), 'True or False'),
            ('class_chunk', _is_count(self.class_chunk), 'an integer >= 1'),
            ('scores_on_cpu', isinstance(self.scores_on_cpu, bool), 'True or False'),
        ):
            if not valid:
                raise ValueError(
                    f'expected test_cfg.{name} to be {expected}, but got {getattr(self, name)!r}'
                )
        if slide and any(map(int.__gt__, self.stride, self.crop_size)):
            raise ValueError(
                f'expected test_cfg.stride <= crop_size, but got {tuple(self.stride)} and '
                f'{tuple(self.crop_size)}: pixels between the windows would never be looked at'
            )

    @classmethod
    def from_test_cfg(cls, test_cfg: Mapping | None) -> PredictionSettings:
        """Check a segmentor's ``test_cfg``; None means the whole image at once.

        Raises:
            ValueError: A key is unknown, or as for the class.
        """
        known = [field.name for field in fields(cls)]
        if unknown := set(test_cfg or {}) - set(known):
            raise ValueError(f'expected keys of test_cfg among {known}, but got {sorted(unknown)}')
        return cls(**(test_cfg or {}))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_size(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_count, value))


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
        resized = any(_unpad(inputs, m).shape[2:] != tuple(m['ori_shape']) for m in metas)
        if settings.keep_scores or settings.mode == 'whole' or resized:
            return super().predict(inputs, data_samples)
        # Labels row by row: scores of the whole image never exist. A loop's variable would keep
        # the rows before while the next ones are made.
        metas = metas or [dict(ori_shape=inputs.shape[2:])] * len(inputs)
        labels = torch.cat(list(map(self._winners, self._score_rows(inputs, metas))), dim=2)
        data_samples = data_samples or [SegDataSample() for _ in labels]
        for label, sample in zip(labels, data_samples, strict=True):
            sample.pred_sem_seg = PixelData(data=restore(label, sample.metainfo))
        return data_samples

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Labels (and scores, see ``keep_scores``) of the original images."""
        settings = self.prediction_settings
        if settings.keep_scores:
            return super().postprocess_result(seg_logits, data_samples)
        if seg_logits.shape[1] == 1:  # a threshold in place of classes; nothing to save
            data_samples = super().postprocess_result(seg_logits, data_samples)
            for sample in data_samples:
                del sample.seg_logits
            return data_samples
        data_samples = data_samples or [SegDataSample() for _ in seg_logits]
        for scores, sample in zip(seg_logits, data_samples, strict=True):
            scores = restore(scores, sample.metainfo)
            size = sample.metainfo.get('ori_shape', scores.shape[1:])
            label = winning_class(scores, size, settings.class_chunk, self.align_corners)
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


@MODELS.register_module()
class WindowedEncoderDecoder(WindowedPrediction, EncoderDecoder):
    """Any of mmseg's encoder-decoders, trained as there, predicting in bounded memory.

    Args:
        post_processor (dict, optional): Refines class probabilities by the image, e.g.
            ``dict(type='PAMR')``: a module called with image [b, 3, H, W] and masks [b, n, H, W].
            Logits become probabilities first, since PAMR averages neighbours.
        **kwargs: Those of ``EncoderDecoder``; ``test_cfg`` as in ``PredictionSettings``.
    """

    def __init__(self, *args, post_processor: dict | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.post_processor = post_processor and MODELS.build(post_processor)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of windows [b, classes, H, W]; refined probabilities with a post-processor."""
        logits = super().encode_decode(inputs, batch_img_metas)
        if self.post_processor is None:
            return logits
        if logits.shape[1] > 1:
            return self.post_processor(inputs, logits.softmax(dim=1))
        # mmseg takes the sigmoid of a single plane afterwards, so that one goes back to a logit.
        return self.post_processor(inputs, logits.sigmoid()).logit(eps=1e-6)


def restore(planes: Tensor, meta: Mapping) -> Tensor:
    """Cut padding off planes [..., H, W] and undo a flip, as mmseg's ``postprocess_result``."""
    planes = _unpad(planes, meta)
    if not meta.get('flip'):
        return planes
    axes = dict(horizontal=-1, vertical=-2)
    if (direction := meta.get('flip_direction')) not in axes:
        raise ValueError(f'expected flip_direction among {[*axes]}, but got {direction!r}')
    return planes.flip(axes[direction])


def _unpad(planes: Tensor, meta: Mapping) -> Tensor:
    return crop(planes, Padding(*meta.get('img_padding_size', meta.get('padding_size', [0] * 4))))


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
