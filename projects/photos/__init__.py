"""Photographs: EfficientNet-Lite2 and MiniLM as a small vision-language model."""

from .backbone import EfficientNetMiniLM
from .tokenizer import MiniLMTokenizer

__all__ = ['EfficientNetMiniLM', 'MiniLMTokenizer']
