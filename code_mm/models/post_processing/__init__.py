"""Refinement of predicted masks."""

from .pamr import PAMR

__all__ = ['PAMR']
