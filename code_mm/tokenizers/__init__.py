"""Strings in, token ids out."""

from .clip_tokenizer import CLIPTokenizer, clean_text
from .tokenizer import Tokenizer

__all__ = ['CLIPTokenizer', 'Tokenizer', 'clean_text']
