"""Whole models. *Segmentor* is the whole, *segmenter* one of CoDe's two parts."""

from .caption_aligned_segmentor import CaptionAlignedSegmentor
from .code_segmentor import CoDeSegmentor
from .prediction import WindowedEncoderDecoder
from .zero_shot_segmentor import ZeroShotSegmentor

__all__ = [
    'CaptionAlignedSegmentor',
    'CoDeSegmentor',
    'WindowedEncoderDecoder',
    'ZeroShotSegmentor',
]
