"""The shapes world: sample ``index`` of a split, from a seed."""

import zlib
from dataclasses import dataclass

import numpy as np

from .captions import Caption, describe
from .drawing import draw
from .scene import Scene, draw_scene
from .vocabulary import BACKGROUNDS, get_level


@dataclass(frozen=True)
class ShapesSample:
    """One image with all that is known about it.

    Args:
        image (ndarray): uint8 RGB [H, W, 3].
        instances (ndarray): uint8 [H, W]; 0 background, ``i + 1`` object ``i`` of the scene.
        scene (Scene): What is where.
        caption (Caption): What is said.
    """

    image: np.ndarray
    instances: np.ndarray
    scene: Scene
    caption: Caption

    @property
    def object_nouns(self) -> tuple:
        """Nouns of the objects in painter's order."""
        return tuple(obj.noun for obj in self.scene.objects)


class ShapesWorld:
    """A synthetic world of captioned images with exact masks.

    A sample is a function of (seed, split, index) alone, so any part of a split can be made
    again, in any order and in any number of processes.

    Args:
        level (str): Key of :data:`~projects.shapes_world.vocabulary.LEVELS`
            (``easy``, ``hard``; ``crop``, ``few`` for pre-training a CLIP).
        size (int): Side of an image in pixels.
        seed (int): Seed of the world.
        **overrides: Fields of :class:`Level` to change, e.g. ``name_colour=0.1``.

    Raises:
        ValueError: Unknown level, or a size below 16 pixels.
        TypeError: An override that is no field of a level.
    """

    def __init__(self, level: str = 'hard', size: int = 64, seed: int = 0, **overrides) -> None:
        if size < 16:
            raise ValueError(f'expected a size of at least 16 pixels, but got {size}')
        self.name = level
        fields = {**get_level(level).__dict__, **overrides}
        self.level = type(get_level(level))(**fields)
        self.size = size
        self.seed = seed

    @property
    def nouns(self) -> tuple:
        """Object nouns in label order: noun ``i`` has label ``i + 1``, label 0 is background."""
        return self.level.nouns

    def sample(self, split: str, index: int) -> ShapesSample:
        """Make sample ``index`` (from 0) of a split (any name)."""
        words = (self.seed, zlib.crc32(f'{self.name}/{split}'.encode()), index)
        rng = np.random.default_rng(np.random.SeedSequence(words))
        scene = draw_scene(self.level, rng)
        caption = describe(scene, self.level, rng)
        image, instances = draw(scene, self.size, rng)
        return ShapesSample(image, instances, scene, caption)

    def label_map(self, sample: ShapesSample, background_nouns: bool = False) -> np.ndarray:
        """Semantic labels of a sample.

        Args:
            sample (ShapesSample): A sample of this world.
            background_nouns (bool): Label the background by its own noun instead of by 0.

        Returns:
            uint8 [H, W]: 0 background, ``1 + i`` object noun ``i``; with ``background_nouns``,
            background noun ``j`` has label ``1 + len(nouns) + j`` and 0 does not occur.
        """
        labels = [0, *(1 + self.nouns.index(n) for n in sample.object_nouns)]
        if background_nouns:
            labels[0] = 1 + len(self.nouns) + list(BACKGROUNDS).index(sample.scene.background)
        return np.asarray(labels, np.uint8)[sample.instances]
