from .clip import CLIP
from .clip_image_encoder import CLIPImageEncoder, PatchTokens
from .clip_text_encoder import CLIPTextEncoder
from .clip_weights import init_from_clip_file, load_clip_weights, read_tensors

__all__ = [
    'CLIP',
    'CLIPImageEncoder',
    'CLIPTextEncoder',
    'PatchTokens',
    'init_from_clip_file',
    'load_clip_weights',
    'read_tensors',
]
