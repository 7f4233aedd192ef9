from .caption_batch import CaptionBatch
from .region_masks import RegionMasks

__all__ = ['CaptionBatch', 'RegionMasks']
