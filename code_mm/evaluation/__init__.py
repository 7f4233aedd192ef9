"""Metrics for MMEngine's Evaluator, and tables of results."""

from .background_metrics import BestThresholdIoU, ForegroundIoUMetric, ObjectBackgroundAUC
from .noun_retrieval_metric import NounRetrievalMetric
from .per_image_iou import PerImageIoU
from .result_table import result_table, write_result_table
from .word_mask_accuracy import WordMaskAccuracy

__all__ = [
    'BestThresholdIoU',
    'ForegroundIoUMetric',
    'NounRetrievalMetric',
    'ObjectBackgroundAUC',
    'PerImageIoU',
    'WordMaskAccuracy',
    'result_table',
    'write_result_table',
]
