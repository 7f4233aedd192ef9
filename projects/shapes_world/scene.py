"""What is where in an image of the shapes world."""

from dataclasses import dataclass

import numpy as np

from .drawing import coarse_mask, unit_area
from .vocabulary import BACKGROUNDS, COLOURS, COMPANIONS, TEXTURES, Level

_PLACING_SIDE = 48  # pixels per side when objects are tried for overlap
_TRIES = 60
_MAX_EXTENT = 0.94  # an object's box must fit into the image


@dataclass(frozen=True)
class SceneObject:
    """One object: what it is and where.

    Args:
        noun, colour, texture: Words of the vocabulary.
        centre (tuple): (x, y) in units of the image side.
        scale (float): Side of the silhouette's unit box, in units of the image side.
        angle (float): Rotation in radians.
        flip (bool): Mirrored left to right.
    """

    noun: str
    colour: str
    texture: str
    centre: tuple
    scale: float
    angle: float
    flip: bool


@dataclass(frozen=True)
class Scene:
    """A background noun and objects in painter's order."""

    background: str
    objects: tuple


def _draw_object(rng, noun: str, background: str, used: set, level: Level) -> SceneObject:
    colours = [c for c in COLOURS if c not in BACKGROUNDS[background][1] and c not in used]
    scale = min(np.sqrt(rng.uniform(*level.area) / unit_area(noun)), _MAX_EXTENT)
    margin = min(scale / 2, 0.5)
    return SceneObject(
        noun=noun,
        colour=str(rng.choice(colours)),
        texture=str(rng.choice(TEXTURES)),
        centre=tuple(float(v) for v in rng.uniform(margin, 1 - margin, 2)),
        scale=float(scale),
        angle=float(rng.uniform(-0.25, 0.25)),
        flip=bool(rng.random() < 0.5),
    )


def _fits(masks: list, new: np.ndarray, min_visible: float) -> bool:
    """Whether every object stays visible when ``new`` is painted last."""
    covered = new.copy()
    for mask in reversed(masks):
        if (mask & ~covered).sum() < min_visible * mask.sum():
            return False
        covered |= mask
    return True


def draw_scene(level: Level, rng: np.random.Generator) -> Scene:
    """Draw a scene at random.

    Nouns and colours are distinct within an image, and no object has its background's colour.
    An object that finds no free place is left out, but the first always stays.
    """
    background = str(rng.choice(list(BACKGROUNDS)))
    liked = COMPANIONS[background]
    weight = np.array([level.companion_weight if n in liked else 1.0 for n in level.nouns])
    count = int(rng.integers(level.num_objects[0], level.num_objects[1] + 1))
    nouns = rng.choice(level.nouns, size=count, replace=False, p=weight / weight.sum())
    objects, masks = [], []
    for noun in nouns:
        for _ in range(_TRIES):
            obj = _draw_object(rng, str(noun), background, {o.colour for o in objects}, level)
            mask = coarse_mask(obj, _PLACING_SIDE)
            if _fits(masks, mask, level.min_visible):
                objects.append(obj)
                masks.append(mask)
                break
    return Scene(background, tuple(objects))
