"""Pictures of what a model found; pure functions from arrays to RGB pictures."""

from .co_decomposition import draw_co_decomposition
from .colours import distinct_palette
from .comparison import ComparisonRow, draw_comparison, draw_side_by_side
from .overlay import draw_overlay

__all__ = [
    'ComparisonRow',
    'distinct_palette',
    'draw_co_decomposition',
    'draw_comparison',
    'draw_overlay',
    'draw_side_by_side',
]
