"""Label maps of single images, through the pipeline of a config."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from torch import nn


@torch.no_grad()
def predict_label_maps(
    model: nn.Module, pipeline: Sequence[dict], infos: Sequence[dict]
) -> Iterator[np.ndarray]:
    """Predict images one after the other, as a test run does.

    Args:
        model (nn.Module): A mmseg segmentor with weights, in evaluation mode.
        pipeline (Sequence[dict]): The test pipeline. Transforms that load annotations are left
            out, so that images without truth can be predicted.
        infos (Sequence[dict]): What the pipeline starts from: ``img_path`` at least.

    Yields:
        np.ndarray: (H, W) int64 labels at the size of the image.
    """
    kept = [step for step in pipeline if 'Annotation' not in step['type']]
    transform = Compose(copy.deepcopy(kept))
    for info in infos:
        batch = pseudo_collate([transform(copy.deepcopy(info))])
        result = model.test_step(batch)[0]
        yield result.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.int64)
