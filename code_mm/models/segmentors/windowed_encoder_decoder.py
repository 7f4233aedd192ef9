"""mmseg's ``EncoderDecoder`` with batched windows and bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from code_mm.registry import MODELS

from .label_map import restore, restored_size, winning_class
from .prediction_settings import PredictionSettings
from .window_inference import average_by_rows


@MODELS.register_module()
class WindowedEncoderDecoder(EncoderDecoder):
    """An ``EncoderDecoder`` that predicts large images and long class lists.

    Sliding windows go through the network several at a time, and neither they nor the labels need
    scores of all classes at full size (``test_cfg.keep_scores=False``). Results are mmseg's.

    Args:
        test_cfg (dict, optional): See ``PredictionSettings``: ``mode``, ``crop_size``, ``stride``,
            ``window_batch_size``, ``keep_scores``, ``class_chunk``, ``scores_on_cpu``.
        **kwargs: Those of ``EncoderDecoder``.
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
        """Mean scores of overlapping windows [b, classes, H, W]."""
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
        """Scores of whole images [b, classes, H, W]."""
        scores = super().whole_inference(inputs, batch_img_metas)
        return scores.cpu() if self.prediction_settings.scores_on_cpu else scores

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Label images.

        Args:
            inputs (Tensor): Normalised images [b, 3, H, W].
            data_samples (list[SegDataSample], optional): With mmseg's metainfo; labels are then
                those of the original images.

        Returns:
            list[SegDataSample]: With ``pred_sem_seg`` [1, H, W] and, unless
            ``test_cfg.keep_scores`` is False, ``seg_logits`` [classes, H, W].
        """
        settings = self.prediction_settings
        metas = [sample.metainfo for sample in data_samples or []]
        resized = [m for m in metas if restored_size(inputs.shape[2:], m) != tuple(m['ori_shape'])]
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
            label = winning_class(
                restore(scores, sample.metainfo),
                sample.ori_shape,
                settings.class_chunk,
                self.align_corners,
            )
            sample.pred_sem_seg = PixelData(data=label)
        return data_samples

    def _score_rows(self, inputs: Tensor, batch_img_metas: list[dict]) -> Iterator[Tensor]:
        settings = self.prediction_settings

        def predict(windows: Tensor, images: list[int]) -> Tensor:
            # mmseg's heads resize to this; were it no torch.Size, to pad_shape
            shape = dict(img_shape=windows.shape[2:])
            return self.encode_decode(windows, [{**batch_img_metas[i], **shape} for i in images])

        return average_by_rows(
            inputs,
            predict,
            settings.crop_size,
            settings.stride,
            settings.window_batch_size,
            device='cpu' if settings.scores_on_cpu else None,
        )

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
