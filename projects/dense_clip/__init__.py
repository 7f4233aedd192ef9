"""Dense readings of CLIP without training, SCLIP's protocol, and scores from several names."""

from . import sclip_protocol  # noqa: F401
from .attention import CorrelativeSelfAttention, NeighbourhoodAttention, SelfSelfAttention
from .name_scores import MasksOfAveragedLogits, SoftmaxOverNames

__all__ = [
    'CorrelativeSelfAttention',
    'MasksOfAveragedLogits',
    'NeighbourhoodAttention',
    'SelfSelfAttention',
    'SoftmaxOverNames',
]
