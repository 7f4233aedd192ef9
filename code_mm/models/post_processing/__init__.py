"""Refinement of predicted masks."""

from .knowledge_preserving_mix import KnowledgePreservingMix
from .pamr import PAMR

__all__ = ['PAMR', 'KnowledgePreservingMix']
