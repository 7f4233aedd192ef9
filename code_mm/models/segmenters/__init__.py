"""The two segmenters of CoDe, and masks from similarities."""

from .gated_upsampling import GatedUpsampling, LayerNorm2d
from .image_segmenter import ImageSegmenter
from .similarity_to_mask import SimilarityToMask
from .text_segmenter import TextSegmenter

__all__ = ['GatedUpsampling', 'ImageSegmenter', 'LayerNorm2d', 'SimilarityToMask', 'TextSegmenter']
