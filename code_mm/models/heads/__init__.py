"""Decode heads."""

from .zero_shot_head import ZeroShotHead

__all__ = ['ZeroShotHead']
