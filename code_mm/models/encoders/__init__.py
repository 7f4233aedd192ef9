from .clip import CLIP
from .clip_image_encoder import CLIPImageEncoder, PatchTokens
from .clip_text_encoder import CLIPTextEncoder
from .clip_weights import load_clip_weights, read_tensors

__all__ = [
    'CLIP',
    'CLIPImageEncoder',
    'CLIPTextEncoder',
    'PatchTokens',
    'load_clip_weights',
    'read_tensors',
]
