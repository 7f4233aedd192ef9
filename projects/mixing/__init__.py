"""Labels and captions in one run: what the configs of this project add to MMSegmentation's."""

from .add_caption import AddCaption
from .caption_aligned_segmentor import CaptionAlignedSegmentor

__all__ = ['AddCaption', 'CaptionAlignedSegmentor']
