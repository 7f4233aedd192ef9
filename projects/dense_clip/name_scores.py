"""Class scores from cosines [b, phrases, H, W] of all names, averaged over windows and resized."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS
from code_mm.vocabulary import Vocabulary


@MODELS.register_module()
class SoftmaxOverNames(BaseModule):
    """Softmax over the names of all classes; a class takes the probability of its best name.

    The scores of SCLIP's published protocol (Wang et al., ECCV 2024).

    Args:
        scale (float): Factor on the cosines, > 0.
        min_score (float, optional): Pixels whose best class is less probable become class 0, the
            background; in (0, 1).
        min_share (float, optional): Classes other than 0 that hold at most this share of the pixels
            that are not class 0 are left out of the image; in (0, 1).
    """

    def __init__(
        self, scale: float = 40.0, min_score: float | None = None, min_share: float | None = None
    ) -> None:
        super().__init__()
        if scale <= 0:
            raise ValueError(f'expected scale > 0, but got {scale}')
        for name, value in dict(min_score=min_score, min_share=min_share).items():
            if value is not None and not 0 < value < 1:
                raise ValueError(f'expected {name} in (0, 1) or None, but got {value}')
        self.scale, self.min_score, self.min_share = scale, min_score, min_share

    def forward(
        self, similarity: Tensor, vocabulary: Vocabulary, similarity_to_mask: nn.Module
    ) -> Tensor:
        """Probabilities [b, classes, H, W] of whole images; the mask scale is not used."""
        # half precision has three digits, and the cosines are multiplied
        names = torch.softmax(self.scale * similarity.float(), dim=1)
        return vocabulary.best_synonym(names)

    def decide(self, scores: Tensor) -> Tensor:
        """Labels [b, H, W] by ``min_share`` and ``min_score``; the scores themselves stay."""
        if self.min_share is not None:
            scores = self._without_small_classes(scores)
        best, labels = scores.max(dim=1)
        return labels if self.min_score is None else labels.masked_fill(best < self.min_score, 0)

    def _without_small_classes(self, scores: Tensor) -> Tensor:
        winners = scores.argmax(dim=1)  # b H W
        classes = torch.arange(1, scores.shape[1], device=scores.device)
        pixels = torch.stack([(winners == c).sum((1, 2)) for c in classes], dim=1)  # b classes-1
        large = pixels > self.min_share * pixels.sum(dim=1, keepdim=True)
        objects = scores[:, 1:] * large[:, :, None, None]
        return torch.cat([scores[:, :1], objects], dim=1)


@MODELS.register_module()
class MasksOfAveragedLogits(BaseModule):
    """Averages logits over windows and takes the sigmoid afterwards.

    Without this part the soft masks themselves are averaged and resized (thesis §4.1), which
    weighs a window that is sure more than one that is not.
    """

    def forward(
        self, similarity: Tensor, vocabulary: Vocabulary, similarity_to_mask: nn.Module
    ) -> Tensor:
        """Masks [b, classes (+ background in front), H, W] of whole images, in [0, 1]."""
        masks = vocabulary.best_synonym(similarity_to_mask(similarity.float()))
        return vocabulary.add_background(masks)
