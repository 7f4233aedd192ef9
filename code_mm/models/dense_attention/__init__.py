from code_mm.models.backbones.clip import DenseAttention, SelfOnlyAttention, with_class_token

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
