"""CLIP as a vision-language backbone."""

from ..transformer import ResidualAttentionBlock
from .clip import CLIP
from .dense_attention import DenseAttention, SelfOnlyAttention, with_class_token
from .image_tower import CLIPImageTower
from .loading import load_clip_weights

__all__ = [
    'CLIP',
    'CLIPImageTower',
    'DenseAttention',
    'ResidualAttentionBlock',
    'SelfOnlyAttention',
    'load_clip_weights',
    'with_class_token',
]
