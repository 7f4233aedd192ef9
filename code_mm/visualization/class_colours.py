"""One colour per class of a picture: far from each other, or the data set's own."""

from collections.abc import Iterable, Sequence

from .lettering import Colour
from .palette import distinct_palette


def class_colours(
    present: Iterable[int], palette: Sequence[Colour], distinct: bool = True
) -> dict[int, Colour]:
    """Choose the colours of the classes that occur in a picture.

    Data sets give neighbours in the list of classes alike colours, and black or grey to some; for
    the few classes of one picture there are better ones.

    Args:
        present (Iterable[int]): Labels that occur.
        palette (Sequence[Colour]): The data set's RGB colours, in label order.
        distinct (bool): Take :func:`distinct_palette` instead of the data set's.

    Returns:
        dict[int, Colour]: Label -> RGB colour, labels in rising order.
    """
    present = sorted(set(present))
    if distinct:
        return dict(zip(present, distinct_palette(len(present)), strict=True))
    return {label: tuple(int(v) for v in palette[label]) for label in present}
