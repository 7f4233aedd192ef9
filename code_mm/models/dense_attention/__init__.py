from code_mm.models.backbones.clip.dense_attention import DenseAttention, with_class_token
from code_mm.models.backbones.clip.self_only_attention import SelfOnlyAttention

from .correlative_self_attention import CorrelativeSelfAttention
from .neighbourhood_attention import NeighbourhoodAttention, patch_gaussian
from .self_self_attention import SelfSelfAttention

__all__ = [
    'CorrelativeSelfAttention',
    'DenseAttention',
    'NeighbourhoodAttention',
    'SelfOnlyAttention',
    'SelfSelfAttention',
    'patch_gaussian',
    'with_class_token',
]
