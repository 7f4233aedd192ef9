"""Inference: images and class names in, label maps out."""

from .code_inferencer import CoDeInferencer
from .results import Segmentation

__all__ = ['CoDeInferencer', 'Segmentation']
