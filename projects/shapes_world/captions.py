"""Captions of the shapes world, with the owner of every word."""

from dataclasses import dataclass

import numpy as np

from .scene import Scene, SceneObject
from .vocabulary import BACKGROUNDS, COLOURS, NOUNS, TEXTURES, Level

_OPENINGS = ('', '', '', 'there is', 'here we see', 'this shows', 'look at', 'we can see')
_NEUTRAL = ('and', 'near', 'beside', 'next to', 'with', 'close to')
_SIZES = ('small', 'big', 'little', 'large')
_DIRECTIONS = ('above', 'over', 'below', 'under', 'left of')

#: Texts that hold every word a caption may have.
CAPTION_WORDS = (
    *('a an and , .', *_OPENINGS[3:], *_NEUTRAL, *_DIRECTIONS, *_SIZES),
    *(before for before, _ in BACKGROUNDS.values()),
    *(*NOUNS, *COLOURS, *TEXTURES, *BACKGROUNDS),
)


@dataclass(frozen=True)
class Caption:
    """A caption and what the generator knows about it.

    Args:
        text (str): The caption.
        nouns (tuple): Its nouns in the order of the text, the background's included.
        words (tuple): One tuple (word, start, end, owner) per word: ``text[start:end]`` is the word
            and owner the noun that it names or describes, or None (articles, relations, fillers).
    """

    text: str
    nouns: tuple
    words: tuple


def _phrase(obj: SceneObject, level: Level, rng: np.random.Generator) -> list:
    """[(word, owner), ...] such as a / striped / red / star."""
    adjectives = []
    if level.name_texture and rng.random() < level.name_texture * 0.3:
        adjectives.append(str(rng.choice(_SIZES[:2] if obj.scale < 0.4 else _SIZES[2:])))
    if rng.random() < level.name_texture:
        adjectives.append(obj.texture)
    if rng.random() < level.name_colour:
        adjectives.append(obj.colour)
    words = [(w, obj.noun) for w in [*adjectives, obj.noun]]
    article = 'an' if words[0][0][0] in 'aeiou' else 'a'
    return [(article, None), *words]


def _relation(first: SceneObject, second: SceneObject, rng: np.random.Generator) -> list:
    """Words that relate the first object to the second, true in the image."""
    dx, dy = np.subtract(first.centre, second.centre)
    if rng.random() < 0.5 and max(abs(dx), abs(dy)) > 0.2:
        if abs(dy) > abs(dx):
            text = rng.choice(('above', 'over') if dy < 0 else ('below', 'under'))
        else:
            text = 'left of' if dx < 0 else 'beside'  # taggers take 'right' for a noun
    else:
        text = rng.choice(_NEUTRAL)
    return [(w, None) for w in str(text).split()]


def _named(scene: Scene, level: Level, rng: np.random.Generator) -> tuple:
    """Objects that the caption names (in random order) and whether it names the background."""
    order = [scene.objects[i] for i in rng.permutation(len(scene.objects))]
    named = [o for o in order if rng.random() < level.name_object]
    with_background = bool(rng.random() < level.name_background)
    named = named or order[:1]
    for obj in order:
        if len(named) + with_background >= level.min_nouns:
            break
        if obj not in named:
            named.append(obj)
    with_background |= len(named) < level.min_nouns
    return named, with_background


def _assemble(pieces: list) -> Caption:
    text, words = '', []
    for word, owner in pieces:
        if text and word not in ',.':
            text += ' '
        words.append((word, len(text), len(text) + len(word), owner))
        text += word
    owners = [owner for word, _, _, owner in words if owner == word]
    return Caption(text, tuple(dict.fromkeys(owners)), tuple(words))


def describe(scene: Scene, level: Level, rng: np.random.Generator) -> Caption:
    """Write a caption of a scene: attributes, true relations, filler words."""
    named, with_background = _named(scene, level, rng)
    pieces = [(w, None) for w in str(rng.choice(_OPENINGS)).split()]
    for i, obj in enumerate(named):
        if i and i == len(named) - 1 and len(named) > 2:
            pieces += [(',', None), ('and', None)]
        elif i:
            pieces += _relation(named[i - 1], obj, rng)
        pieces += _phrase(obj, level, rng)
    if with_background:
        before = BACKGROUNDS[scene.background][0]
        pieces += [(w, None) for w in before.split()]
        pieces.append((scene.background, scene.background))
    if rng.random() < 0.3:
        pieces.append(('.', None))
    return _assemble(pieces)
