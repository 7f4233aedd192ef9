"""Weight files: reading them without executing anything, and the layouts that others use."""

from .checksum import weights_sha256
from .clip_layouts import clip_layout, to_own_names
from .files import read_checkpoint, read_tensors
from .load_report import LoadReport
from .stated_clip import StatedCLIP, stated_clip

__all__ = [
    'LoadReport',
    'StatedCLIP',
    'clip_layout',
    'read_checkpoint',
    'read_tensors',
    'stated_clip',
    'to_own_names',
    'weights_sha256',
]
