"""CLIP as a vision-language backbone."""

from .clip import CLIP
from .dense_attention import DenseAttention, SelfOnlyAttention, with_class_token
from .image_tower import CLIPImageTail, CLIPImageTower, PatchTokens
from .loading import init_from_clip_file, load_clip_weights
from .text_tower import CLIPTextTower
from .transformer import ResidualAttentionBlock, Transformer, run_checkpointed

__all__ = [
    'CLIP',
    'CLIPImageTail',
    'CLIPImageTower',
    'CLIPTextTower',
    'DenseAttention',
    'PatchTokens',
    'ResidualAttentionBlock',
    'SelfOnlyAttention',
    'Transformer',
    'init_from_clip_file',
    'load_clip_weights',
    'run_checkpointed',
    'with_class_token',
]
