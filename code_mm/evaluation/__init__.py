"""Metrics for MMEngine's Evaluator, and tables of results."""

from .object_background_auc import ObjectBackgroundAUC
from .result_table import result_table, write_result_table

__all__ = ['ObjectBackgroundAUC', 'result_table', 'write_result_table']
