"""Benchmarks: the table of what is known of them, and data sets that MMSegmentation lacks."""

from .datasets import COCOObjectDataset, PascalVOC20Dataset

__all__ = ['COCOObjectDataset', 'PascalVOC20Dataset']
