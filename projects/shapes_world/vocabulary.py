"""The words of the shapes world, and its levels of difficulty."""

from dataclasses import dataclass

#: One noun per silhouette. The first eight are the easy level's.
NOUNS = (
    *('star', 'heart', 'tree', 'house', 'boat', 'fish', 'moon', 'mushroom'),
    *('ring', 'arrow', 'cup', 'flower', 'bird', 'crown', 'bottle', 'car'),
)

#: Colour word -> RGB in 0..255.
COLOURS = {
    'red': (214, 40, 40),
    'green': (40, 160, 60),
    'blue': (40, 80, 210),
    'yellow': (240, 215, 50),
    'orange': (245, 140, 30),
    'purple': (140, 60, 170),
    'white': (245, 245, 245),
    'black': (30, 30, 30),
}

#: Adjectives of an object's surface.
TEXTURES = ('plain', 'striped', 'dotted')

#: Background noun -> (preposition phrase before it, colours that would vanish on it).
BACKGROUNDS = {
    'grass': ('on the', ('green',)),
    'sand': ('on the', ('yellow', 'orange')),
    'sky': ('in the', ('blue', 'white')),
    'bricks': ('before the', ('red', 'orange')),
    'water': ('on the', ('blue',)),
    'snow': ('in the', ('white',)),
    'stone': ('on the', ('black',)),
}

#: Background -> objects that like to be seen on it (co-occurrence in the hard level).
COMPANIONS = {
    'grass': ('tree', 'flower', 'mushroom', 'house'),
    'sand': ('crown', 'bottle', 'ring'),
    'sky': ('bird', 'moon', 'star'),
    'bricks': ('car', 'cup', 'bottle'),
    'water': ('boat', 'fish'),
    'snow': ('house', 'tree', 'car'),
    'stone': ('cup', 'arrow', 'mushroom'),
}


@dataclass(frozen=True)
class Level:
    """One level of difficulty.

    Args:
        num_nouns (int): How many of :data:`NOUNS`, from the first, appear.
        num_objects (tuple): Least and most objects per image.
        area (tuple): Least and most area of an object, as a fraction of the image.
        min_visible (float): Least visible fraction of an object's own area (occlusion).
        companion_weight (float): How many times likelier an object is on a background
            that it belongs to (1 = no co-occurrence).
        name_object (float): Probability that the caption names an object.
        name_colour, name_texture, name_background: Probabilities of these words.
        min_nouns (int): Least nouns in a caption, background noun included, where the image has as
            many.
    """

    num_nouns: int
    num_objects: tuple
    area: tuple
    min_visible: float
    companion_weight: float
    name_object: float
    name_colour: float
    name_texture: float
    name_background: float
    min_nouns: int = 2

    @property
    def nouns(self) -> tuple:
        """The object nouns of this level, in label order."""
        return NOUNS[: self.num_nouns]


#: Levels by key. The last two make the pre-training data of the small CLIP.
LEVELS = {
    'easy': Level(8, (2, 2), (0.14, 0.24), 0.65, 1.0, 1.0, 0.7, 0.5, 0.7),
    'hard': Level(16, (2, 4), (0.06, 0.12), 0.75, 5.0, 0.75, 0.6, 0.4, 0.5),
    'crop': Level(16, (1, 1), (0.24, 0.46), 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1),
    'few': Level(16, (1, 3), (0.06, 0.14), 0.75, 1.0, 1.0, 0.1, 0.05, 0.1, 1),
}


def get_level(name: str) -> Level:
    """Return the level called ``name``.

    Raises:
        ValueError: There is none.
    """
    if name not in LEVELS:
        raise ValueError(f'expected a level of {sorted(LEVELS)}, but got {name!r}')
    return LEVELS[name]
