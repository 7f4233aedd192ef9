"""CLIP as a vision-language backbone."""

from .clip import CLIP
from .dense_attention import DenseAttention, with_class_token
from .image_encoder import CLIPImageEncoder, PatchTokens
from .loading import init_from_clip_file, load_clip_weights, read_tensors
from .self_only_attention import SelfOnlyAttention
from .text_encoder import CLIPTextEncoder
from .transformer import (
    ResidualAttentionBlock,
    SelfAttention,
    Transformer,
    run_checkpointed,
    token_at,
)

__all__ = [
    'CLIP',
    'CLIPImageEncoder',
    'CLIPTextEncoder',
    'DenseAttention',
    'PatchTokens',
    'ResidualAttentionBlock',
    'SelfAttention',
    'SelfOnlyAttention',
    'Transformer',
    'init_from_clip_file',
    'load_clip_weights',
    'read_tensors',
    'run_checkpointed',
    'token_at',
    'with_class_token',
]
