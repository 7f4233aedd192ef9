"""Mixing a trained segmenter's masks with those of the frozen CLIP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from code_mm.ops import l2_normalize, region_similarity
from code_mm.registry import MODELS
from code_mm.vocabulary import get_templates


@MODELS.register_module()
class KnowledgePreservingMix(BaseModule):
    """``weight * q + (1 - weight) * mask`` with q from frozen dense CLIP features.

    ``q = sigmoid(scale * (cosine - threshold))``; the constants are those of the authors' release.

    Args:
        weight (float): Share of the frozen branch, in (0, 1].
        scale (float): Steepness of its sigmoid.
        threshold (float): Cosine at which its probability is 1/2.
        templates (str | Sequence[str]): Templates of its class names, see ``get_templates``.
    """

    def __init__(
        self,
        weight: float = 0.3,
        scale: float = 10.0,
        threshold: float = 0.25,
        templates: str | Sequence[str] = 'custom',
    ) -> None:
        super().__init__()
        if not 0 < weight <= 1:
            raise ValueError(f'expected a weight in (0, 1], but got {weight}')
        self.weight, self.scale, self.threshold = weight, scale, threshold
        self.templates = get_templates(templates)

    def forward(self, masks: Tensor, features: Tensor, class_embeddings: Tensor) -> Tensor:
        """Mix the frozen branch into soft masks [b, m, h, w].

        Args:
            masks (Tensor): [b, m, h, w].
            features (Tensor): Frozen dense CLIP features [b, c, h', w'], of any length.
            class_embeddings (Tensor): Unit-length embeddings [m, c].
        """
        cosine = region_similarity(l2_normalize(features, dim=1), class_embeddings)
        frozen = torch.sigmoid(self.scale * (cosine - self.threshold))
        frozen = F.interpolate(frozen, size=masks.shape[-2:], mode='bilinear', align_corners=False)
        return self.weight * frozen + (1 - self.weight) * masks
