from .gated_upsampling import GatedUpsampling, LayerNorm2d
from .patch_convolution import patch_convolution
from .residual_attention_block import (
    ResidualAttentionBlock,
    SelfAttention,
    Transformer,
    run_checkpointed,
    token_at,
)

__all__ = [
    'GatedUpsampling',
    'LayerNorm2d',
    'ResidualAttentionBlock',
    'SelfAttention',
    'Transformer',
    'patch_convolution',
    'run_checkpointed',
    'token_at',
]
