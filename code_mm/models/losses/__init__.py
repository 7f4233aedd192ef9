"""Losses: one pure function and one registered module, with a ``loss_weight``, per file."""

from .area import AreaLoss, area_loss
from .info_nce import InfoNCELoss, info_nce
from .knowledge_guided import KnowledgeGuidedLoss, knowledge_guided_loss
from .region_info_nce import RegionInfoNCELoss, region_info_nce
from .text_segmentation import TextSegmentationLoss, text_segmentation_loss
from .total_variation import TotalVariationLoss, total_variation

__all__ = [
    'AreaLoss',
    'InfoNCELoss',
    'KnowledgeGuidedLoss',
    'RegionInfoNCELoss',
    'TextSegmentationLoss',
    'TotalVariationLoss',
    'area_loss',
    'info_nce',
    'knowledge_guided_loss',
    'region_info_nce',
    'text_segmentation_loss',
    'total_variation',
]
