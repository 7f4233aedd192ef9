"""Pictures of what a model found; pure functions from arrays to RGB pictures."""

from .charts import draw_class_ious, draw_confusion, draw_noun_frequencies, order_by_iou
from .co_decomposition import draw_co_decomposition
from .colours import class_colours, distinct_palette, noun_colours, paint_labels
from .comparison import ComparisonRow, draw_comparison, draw_side_by_side
from .overlay import draw_overlay

__all__ = [
    'ComparisonRow',
    'class_colours',
    'distinct_palette',
    'draw_class_ious',
    'draw_co_decomposition',
    'draw_comparison',
    'draw_confusion',
    'draw_noun_frequencies',
    'draw_overlay',
    'draw_side_by_side',
    'noun_colours',
    'order_by_iou',
    'paint_labels',
]
