"""CLIP as a vision-language backbone."""

from .clip import CLIP
from .dense_attention import DenseAttention, SelfOnlyAttention, with_class_token
from .image_tower import CLIPImageTower
from .loading import load_clip_weights
from .transformer import ResidualAttentionBlock, Transformer, run_checkpointed

__all__ = [
    'CLIP',
    'CLIPImageTower',
    'DenseAttention',
    'ResidualAttentionBlock',
    'SelfOnlyAttention',
    'Transformer',
    'load_clip_weights',
    'run_checkpointed',
    'with_class_token',
]
