"""Vision-language backbones."""

from .clip import CLIP, CLIPImageEncoder, CLIPTextEncoder

__all__ = ['CLIP', 'CLIPImageEncoder', 'CLIPTextEncoder']
