"""Test-time augmentation: the scores of all views of an image, not those of the last one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from code_mm.models.segmentors import WindowedEncoderDecoder, ZeroShotSegmentor


def merge_views(
    model: SegTTAModel, data_samples_list: Sequence[Sequence[SegDataSample]]
) -> list[SegDataSample]:
    """In place of ``SegTTAModel.merge_preds``, which keeps the scores of the last view.

    Logits become probabilities before they are averaged, as mmseg has it. Scores of class names,
    and refined probabilities, are averaged as they are: softmax would undo their scale, by which
    the background's threshold is set.

    Args:
        model (SegTTAModel): Around the segmentor.
        data_samples_list (Sequence[Sequence[SegDataSample]]): Views by image.

    Returns:
        list[SegDataSample]: The first view of each image, with ``seg_logits`` [classes, H, W] and
        ``pred_sem_seg`` [1, H, W] of all.

    Raises:
        ValueError: A view has no scores.
    """
    merged = []
    for views in data_samples_list:
        if not all('seg_logits' in view for view in views):
            raise ValueError(
                'expected views with scores to merge, but got labels alone; set '
                'model.test_cfg.keep_scores=True'
            )
        planes = [_probabilities(model.module, view.seg_logits.data) for view in views]
        scores = torch.stack(planes).mean(dim=0)
        views[0].seg_logits = PixelData(data=scores)
        views[0].pred_sem_seg = PixelData(data=_labels(model.module, scores))
        merged.append(views[0])
    return merged


def _probabilities(module: nn.Module, scores: Tensor) -> Tensor:
    if len(scores) == 1:
        return scores.sigmoid()
    refined = isinstance(module, WindowedEncoderDecoder) and module.post_processor is not None
    if refined or isinstance(module, ZeroShotSegmentor):
        return scores
    return scores.softmax(dim=0)


def _labels(module: nn.Module, scores: Tensor) -> Tensor:
    if isinstance(module, ZeroShotSegmentor):
        return module.decide(scores[None])
    if len(scores) == 1:
        return (scores > module.decode_head.threshold).to(scores)
    return scores.argmax(dim=0, keepdim=True)
