"""Decode heads."""

from .masks_of_averaged_logits import MasksOfAveragedLogits
from .softmax_over_names import SoftmaxOverNames
from .zero_shot_head import ZeroShotHead

__all__ = ['MasksOfAveragedLogits', 'SoftmaxOverNames', 'ZeroShotHead']
