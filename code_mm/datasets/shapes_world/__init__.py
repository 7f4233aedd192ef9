"""A synthetic world of captioned shapes with exact masks."""

from .captions import CAPTION_WORDS, Caption
from .scene import Scene, SceneObject
from .vocabulary import BACKGROUNDS, COLOURS, LEVELS, NOUNS, TEXTURES, Level
from .world import ShapesSample, ShapesWorld
from .writers import caption_record, write_evaluation, write_shards

__all__ = [
    'BACKGROUNDS',
    'CAPTION_WORDS',
    'COLOURS',
    'LEVELS',
    'NOUNS',
    'TEXTURES',
    'Caption',
    'Level',
    'Scene',
    'SceneObject',
    'ShapesSample',
    'ShapesWorld',
    'caption_record',
    'write_evaluation',
    'write_shards',
]
