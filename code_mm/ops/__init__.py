"""Stateless tensor functions."""

from .gather import gather, mean_over_processes, rank, world_size
from .gumbel import gumbel_sigmoid
from .padding import crop, pad_to_multiple
from .regions import l2_normalize, masked_pooling, region_similarity
from .upsampling_convolution import conv3x3_after_upsampling

__all__ = [
    'conv3x3_after_upsampling',
    'crop',
    'gather',
    'gumbel_sigmoid',
    'l2_normalize',
    'masked_pooling',
    'mean_over_processes',
    'pad_to_multiple',
    'rank',
    'region_similarity',
    'world_size',
]
