"""Decode heads."""

from .class_embeddings import embed_class_names
from .zero_shot_head import ZeroShotHead

__all__ = ['ZeroShotHead', 'embed_class_names']
