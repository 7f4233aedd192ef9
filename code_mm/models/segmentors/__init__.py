"""Whole models. *Segmentor* is the whole, *segmenter* one of CoDe's two parts."""

from .code_segmentor import CoDeSegmentor
from .prediction import WindowedEncoderDecoder
from .zero_shot_segmentor import ZeroShotSegmentor

__all__ = ['CoDeSegmentor', 'WindowedEncoderDecoder', 'ZeroShotSegmentor']
