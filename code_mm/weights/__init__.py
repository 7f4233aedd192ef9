"""Weight files: reading them without executing anything, the layouts that others use, filling."""

from .clip_layouts import clip_layout, stated_clip, to_own_names
from .files import read_checkpoint, read_tensors
from .model_weights import LoadReport, weights_sha256
from .sources import local_file

__all__ = [
    'LoadReport',
    'clip_layout',
    'local_file',
    'read_checkpoint',
    'read_tensors',
    'stated_clip',
    'to_own_names',
    'weights_sha256',
]
