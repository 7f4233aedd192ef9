"""Benchmarks that MMSegmentation does not have."""

from .coco_object import COCOObjectDataset
from .pascal_voc20 import PascalVOC20Dataset

__all__ = ['COCOObjectDataset', 'PascalVOC20Dataset']
