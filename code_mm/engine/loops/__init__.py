"""Loops for MMEngine's Runner."""

from .multi_dataset_loop import MultiDatasetTestLoop, MultiDatasetValLoop

__all__ = ['MultiDatasetTestLoop', 'MultiDatasetValLoop']
