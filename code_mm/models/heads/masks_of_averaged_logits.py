"""Soft masks from logits that were averaged over windows."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.registry import MODELS
from code_mm.vocabulary import Vocabulary


@MODELS.register_module()
class MasksOfAveragedLogits(BaseModule):
    """Averages logits over windows and takes the sigmoid afterwards.

    Without this part the soft masks themselves are averaged and resized (thesis §4.1), which
    weighs a window that is sure more than one that is not.
    """

    def forward(
        self, similarity: Tensor, vocabulary: Vocabulary, similarity_to_mask: nn.Module
    ) -> Tensor:
        """Scores of the classes of whole images.

        Args:
            similarity (Tensor): Cosines of all names [b, phrases, H, W], averaged and resized.
            vocabulary (Vocabulary): The classes.
            similarity_to_mask (nn.Module): Scale and bias.

        Returns:
            Tensor: [b, classes (+ background in front), H, W], in [0, 1].
        """
        masks = vocabulary.best_synonym(similarity_to_mask(similarity.float()))
        return vocabulary.add_background(masks)
