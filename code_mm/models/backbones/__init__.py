"""Vision-language backbones."""

from .clip import CLIP
from .interface import ImageTail, VisionLanguageBackbone
from .transformer import Transformer, run_checkpointed

__all__ = ['CLIP', 'ImageTail', 'Transformer', 'VisionLanguageBackbone', 'run_checkpointed']
