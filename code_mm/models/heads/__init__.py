"""Decode heads."""

from .class_embeddings import embed_class_names
from .masks_of_averaged_logits import MasksOfAveragedLogits
from .softmax_over_names import SoftmaxOverNames
from .zero_shot_head import ZeroShotHead

__all__ = ['MasksOfAveragedLogits', 'SoftmaxOverNames', 'ZeroShotHead', 'embed_class_names']
