"""Vision-language backbones."""

from .clip import CLIP
from .interface import ImageTail, VisionLanguageBackbone

__all__ = ['CLIP', 'ImageTail', 'VisionLanguageBackbone']
