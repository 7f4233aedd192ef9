"""Pictures of what a model found; pure functions from arrays to RGB pictures."""

from .caption_words import CaptionWord, caption_words, noun_occurrences, word_weights
from .co_decomposition import draw_co_decomposition, noun_colours
from .side_by_side import draw_side_by_side

__all__ = [
    'CaptionWord',
    'caption_words',
    'draw_co_decomposition',
    'draw_side_by_side',
    'noun_colours',
    'noun_occurrences',
    'word_weights',
]
