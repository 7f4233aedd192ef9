"""Test-time augmentation: the scores of all views of an image, not those of the last one."""

from collections.abc import Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models import SegTTAModel
from mmseg.structures import SegDataSample

from code_mm.models.segmentors import WindowedEncoderDecoder, ZeroShotSegmentor


def merge_views(
    model: SegTTAModel, data_samples_list: Sequence[Sequence[SegDataSample]]
) -> list[SegDataSample]:
    """In place of ``SegTTAModel.merge_preds``, which keeps the scores of the last view.

    Logits become probabilities before they are averaged. Scores of class names and refined
    probabilities stay as they are: softmax would undo their scale, by which the background's
    threshold is set.

    Returns:
        list[SegDataSample]: The first view of each image, with ``seg_logits`` [classes, H, W] and
        ``pred_sem_seg`` [1, H, W] of all; a ValueError where a view has no scores.
    """
    module = model.module
    is_named = isinstance(module, ZeroShotSegmentor)
    is_refined = isinstance(module, WindowedEncoderDecoder) and module.post_processor is not None
    for views in data_samples_list:
        if not all('seg_logits' in view for view in views):
            raise ValueError(
                'expected views with scores to merge, but got labels alone; set '
                'model.test_cfg.keep_scores=True'
            )
        scores = torch.stack([view.seg_logits.data for view in views])
        if scores.shape[1] == 1:
            scores = scores.sigmoid().mean(dim=0)
            labels = (scores > module.decode_head.threshold).to(scores)
        else:
            scores = (scores if is_named or is_refined else scores.softmax(dim=1)).mean(dim=0)
            labels = module.decide(scores[None]) if is_named else scores.argmax(0, keepdim=True)
        views[0].seg_logits, views[0].pred_sem_seg = PixelData(data=scores), PixelData(data=labels)
    return [views[0] for views in data_samples_list]
