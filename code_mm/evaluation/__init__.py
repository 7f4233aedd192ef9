"""Metrics for MMEngine's Evaluator, and tables of results."""

from .background_metrics import ForegroundIoUMetric, ObjectBackgroundAUC
from .per_image_iou import PerImageIoU, class_ious, confusion_counts, image_iou
from .result_table import result_table, write_result_table

__all__ = [
    'ForegroundIoUMetric',
    'ObjectBackgroundAUC',
    'PerImageIoU',
    'class_ious',
    'confusion_counts',
    'image_iou',
    'result_table',
    'write_result_table',
]
