"""The two segmenters of CoDe, and masks from similarities."""

from .image_segmenter import ImageSegmenter
from .similarity_to_mask import SimilarityToMask
from .text_segmenter import TextSegmenter

__all__ = ['ImageSegmenter', 'SimilarityToMask', 'TextSegmenter']
