from .correlative_self_attention import CorrelativeSelfAttention
from .dense_attention import DenseAttention, with_class_token
from .neighbourhood_attention import NeighbourhoodAttention, patch_gaussian
from .self_only_attention import SelfOnlyAttention
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
