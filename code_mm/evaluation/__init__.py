"""Metrics for MMEngine's Evaluator, and tables of results."""

from .best_threshold_iou import BestThresholdIoU
from .confusion_matrix import (
    class_ious,
    classes_to_show,
    confusion_counts,
    most_confused,
    normalise_rows,
)
from .foreground_iou_metric import ForegroundIoUMetric
from .image_choice import draw_images, find_images
from .label_map_prediction import predict_label_maps
from .object_background_auc import ObjectBackgroundAUC
from .per_image_iou import (
    ImageIoU,
    PerImageIoU,
    image_iou,
    rank_images,
    read_per_image_iou,
    write_per_image_iou,
)
from .result_table import result_table, write_result_table
from .saved_predictions import LabelledImage, SavedPredictions, load_truth

__all__ = [
    'BestThresholdIoU',
    'ForegroundIoUMetric',
    'ImageIoU',
    'LabelledImage',
    'ObjectBackgroundAUC',
    'PerImageIoU',
    'SavedPredictions',
    'class_ious',
    'classes_to_show',
    'confusion_counts',
    'draw_images',
    'find_images',
    'image_iou',
    'load_truth',
    'most_confused',
    'normalise_rows',
    'predict_label_maps',
    'rank_images',
    'read_per_image_iou',
    'result_table',
    'write_per_image_iou',
    'write_result_table',
]
