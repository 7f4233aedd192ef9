"""Transforms of caption samples; each file holds one."""

from .load_caption_image import LoadCaptionImage
from .load_nouns import LoadNouns
from .pack_caption_inputs import PackCaptionInputs
from .random_resized_crop import RandomResizedCrop
from .select_nouns import SelectNouns
from .tokenize_caption import TokenizeCaption

__all__ = [
    'LoadCaptionImage',
    'LoadNouns',
    'PackCaptionInputs',
    'RandomResizedCrop',
    'SelectNouns',
    'TokenizeCaption',
]
