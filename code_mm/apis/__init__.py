"""Inference: images and class names in, label maps out."""

from .class_check import confusable_class_names, suggest_background_threshold
from .code_inferencer import CoDeInferencer
from .results import Segmentation

__all__ = [
    'CoDeInferencer',
    'Segmentation',
    'confusable_class_names',
    'suggest_background_threshold',
]
