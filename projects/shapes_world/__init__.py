"""A synthetic world of captioned shapes with exact masks, and a small CLIP trained on it."""

from .best_threshold_iou import BestThresholdIoU
from .captions import CAPTION_WORDS
from .clip_pretrain_batches import CLIPPretrainBatches
from .clip_pretrainer import CLIPPretrainer
from .dataset import ShapesWorldDataset
from .muon_adamw import MuonAdamW
from .noun_retrieval_metric import NounRetrievalMetric
from .vocabulary import BACKGROUNDS, COLOURS, LEVELS, NOUNS
from .word_mask_accuracy import WordMaskAccuracy
from .world import ShapesSample, ShapesWorld
from .writers import write_evaluation, write_shards

__all__ = [
    'BACKGROUNDS',
    'CAPTION_WORDS',
    'COLOURS',
    'LEVELS',
    'NOUNS',
    'BestThresholdIoU',
    'CLIPPretrainBatches',
    'CLIPPretrainer',
    'MuonAdamW',
    'NounRetrievalMetric',
    'ShapesSample',
    'ShapesWorld',
    'ShapesWorldDataset',
    'WordMaskAccuracy',
    'write_evaluation',
    'write_shards',
]
