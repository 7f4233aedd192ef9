"""Metrics for MMEngine's Evaluator, and tables of results."""

from .foreground_iou_metric import ForegroundIoUMetric
from .noun_retrieval_metric import NounRetrievalMetric
from .object_background_auc import ObjectBackgroundAUC
from .result_table import result_table, write_result_table

__all__ = [
    'ForegroundIoUMetric',
    'NounRetrievalMetric',
    'ObjectBackgroundAUC',
    'result_table',
    'write_result_table',
]
