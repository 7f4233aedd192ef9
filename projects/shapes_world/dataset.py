"""The evaluation part of the shapes world as a mmseg dataset."""

from collections.abc import Sequence

from mmseg.datasets import BaseSegDataset

from code_mm.registry import DATASETS

from .vocabulary import BACKGROUNDS, COLOURS, NOUNS, get_level

_BACKGROUND_PALETTE = {
    'grass': (80, 150, 60),
    'sand': (222, 196, 140),
    'sky': (120, 180, 240),
    'bricks': (160, 82, 60),
    'water': (45, 110, 180),
    'snow': (226, 232, 240),
    'stone': (128, 126, 124),
}


def _noun_palette() -> list:
    """Two shades of each colour of the world: one entry per noun."""
    shades = [COLOURS[c] for c in ('red', 'green', 'blue', 'yellow', 'orange', 'purple')]
    shades += [(0, 200, 200), (240, 110, 190)]
    return [[int(v * f) for v in rgb] for f in (1.0, 0.55) for rgb in shades]


@DATASETS.register_module()
class ShapesWorldDataset(BaseSegDataset):
    """Images and label maps written by ``make_world.py``.

    Values in ``annotations``: 0 background, ``1 + i`` object noun ``i`` (in the order of
    ``NOUNS``). In ``annotations_with_backgrounds`` the background has its own label,
    ``1 + number of object nouns + j``. Three ways to score, chosen by keys:

    ===================  ====================  =============================  ================
    ``with_background``  ``background_nouns``  classes                        background pixel
    ===================  ====================  =============================  ================
    True                 False                 'background', object nouns     class 0
    False                False                 object nouns                   255, ignored
    False                True                  object nouns, backgrounds      own class
    ===================  ====================  =============================  ================

    For the last one let ``seg_map_path`` be the folder ``annotations_with_backgrounds``. As in
    mmseg's own data sets ``metainfo=dict(classes=...)`` keeps some of the classes, in any order,
    and ignores (255) the pixels of all others.

    Args:
        level (str): ``easy`` (8 nouns) or ``hard`` (16 nouns).
        with_background (bool): Score the background as class 0.
        background_nouns (bool): Score every background noun as a class of its own.
        **kwargs: Of ``BaseSegDataset``.

    Raises:
        ValueError: Unknown level or class, or both background keys on.
    """

    METAINFO = {'classes': ('background', *NOUNS), 'palette': [[0, 0, 0], *_noun_palette()]}

    def __init__(
        self,
        level: str = 'hard',
        with_background: bool = True,
        background_nouns: bool = False,
        metainfo: dict | None = None,
        **kwargs,
    ) -> None:
        if with_background and background_nouns:
            raise ValueError(
                'expected at most one of with_background and background_nouns, but got both; '
                'set with_background=False to score background nouns as classes'
            )
        colours = dict(zip(NOUNS, _noun_palette(), strict=True))
        colours = {noun: colours[noun] for noun in get_level(level).nouns}
        if with_background:
            colours = {'background': [0, 0, 0], **colours}
        if background_nouns:
            colours |= {noun: list(_BACKGROUND_PALETTE[noun]) for noun in BACKGROUNDS}
        self._all_classes = tuple(colours)
        own = {'classes': self._all_classes, 'palette': [*colours.values()]}
        super().__init__(
            metainfo={**own, **(metainfo or {})},
            reduce_zero_label=not with_background,
            **kwargs,
        )

    def get_label_map(self, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Old label -> new one, 255 for classes that were left out; None where none were."""
        everything = self._all_classes
        kept = everything if new_classes is None else tuple(new_classes)
        if kept == everything:
            return None
        unknown = [name for name in kept if name not in everything]
        if unknown:
            raise ValueError(
                f'expected classes among {everything}, but got {unknown}; the keys level, '
                'with_background and background_nouns decide which there are'
            )
        return {i: kept.index(n) if n in kept else 255 for i, n in enumerate(everything)}
