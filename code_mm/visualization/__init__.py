"""Pictures of what a model found; pure functions from arrays to RGB pictures."""

from .caption_pair import load_caption_pair
from .caption_words import CaptionWord, caption_words, noun_occurrences, word_weights
from .class_colours import class_colours
from .class_iou_bars import draw_class_ious, order_by_iou
from .co_decomposition import draw_co_decomposition, noun_colours
from .comparison_grid import ComparisonRow, draw_comparison, paint_labels
from .confusion_heat_map import draw_confusion
from .overlay import draw_overlay
from .palette import distinct_palette
from .side_by_side import draw_side_by_side

__all__ = [
    'CaptionWord',
    'ComparisonRow',
    'caption_words',
    'class_colours',
    'distinct_palette',
    'draw_class_ious',
    'draw_co_decomposition',
    'draw_comparison',
    'draw_confusion',
    'draw_overlay',
    'draw_side_by_side',
    'load_caption_pair',
    'noun_colours',
    'noun_occurrences',
    'order_by_iou',
    'paint_labels',
    'word_weights',
]
