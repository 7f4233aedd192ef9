"""Soft masks from logits that were averaged over windows."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS

from .class_names import best_synonym


@MODELS.register_module()
class MasksOfAveragedLogits(BaseModule):
    """Averages logits over windows and takes the sigmoid afterwards.

    Without this part the soft masks themselves are averaged and resized (thesis §4.1), which
    weighs a window that is sure more than one that is not.
    """

    def forward(self, similarity: Tensor, head: nn.Module) -> Tensor:
        """Scores of the classes of whole images.

        Args:
            similarity (Tensor): Cosines of all names [b, phrases, H, W], averaged and resized.
            head (nn.Module): The ``ZeroShotHead``, with its scale, bias and background threshold.

        Returns:
            Tensor: [b, classes (+ background in front), H, W], in [0, 1].
        """
        masks = best_synonym(head.similarity_to_mask(similarity.float()), head.synonyms_per_class)
        if head.background_threshold is None:
            return masks
        plane = torch.full_like(masks[:, :1], head.background_threshold)
        return torch.cat([plane, masks], dim=1)
