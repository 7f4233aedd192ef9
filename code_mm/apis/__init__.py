"""Inference: images and class names in, label maps out."""

from .background_suggestion import ThresholdSuggestion, suggest_background_threshold
from .class_confusion import ClassConfusion, confusable_class_names
from .code_inferencer import CoDeInferencer
from .segmentation import Segmentation

__all__ = [
    'ClassConfusion',
    'CoDeInferencer',
    'Segmentation',
    'ThresholdSuggestion',
    'confusable_class_names',
    'suggest_background_threshold',
]
