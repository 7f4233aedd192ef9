from .gated_upsampling import GatedUpsampling, LayerNorm2d
from .residual_attention_block import ResidualAttentionBlock, SelfAttention, Transformer

__all__ = [
    'GatedUpsampling',
    'LayerNorm2d',
    'ResidualAttentionBlock',
    'SelfAttention',
    'Transformer',
]
