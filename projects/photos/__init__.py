"""Photographs: EfficientNet-Lite2 and MiniLM as a small vision-language model."""

from .backbone import EfficientNetMiniLM
from .datasets import COCOPhotosDataset
from .reading import RowsNounPrompt, RowsSegmentor, SoftmaxMask, WholeImageHead
from .text_segmenter import HeadTextSegmenter
from .tokenizer import MiniLMTokenizer

__all__ = [
    'COCOPhotosDataset',
    'EfficientNetMiniLM',
    'HeadTextSegmenter',
    'MiniLMTokenizer',
    'RowsNounPrompt',
    'RowsSegmentor',
    'SoftmaxMask',
    'WholeImageHead',
]
