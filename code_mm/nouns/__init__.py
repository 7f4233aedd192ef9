"""Nouns of captions: taggers, the noun selector, the cache, token labels."""

from .noun_selector import NounSelector
from .taggers import build_tagger
from .token_labels import token_labels

__all__ = ['NounSelector', 'build_tagger', 'token_labels']
