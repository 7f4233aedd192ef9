"""What a user looks for: class names in words, with or without a background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from code_mm.visualization.colours import distinct_palette
from code_mm.visualization.lettering import Colour

BACKGROUND = 'background'
# The published protocol's (thesis §4.1); that of a config goes first.
DEFAULT_BACKGROUND_THRESHOLD = 0.4


@dataclass(frozen=True)
class ClassQuery:
    """Class names and the score that they must reach."""

    words: tuple[str, ...]
    """Names as the user wrote them, without the background."""
    background_threshold: float | None
    """Score of the background; None where every pixel gets one of the classes."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names in label order, 'background' in front where there is one."""
        return self.words if self.background_threshold is None else (BACKGROUND, *self.words)

    @property
    def colours(self) -> list[Colour]:
        """A colour per label: black for the background, then colours far from each other."""
        background = [] if self.background_threshold is None else [(0, 0, 0)]
        return [*background, *distinct_palette(len(self.words))]

    def ask(self, model: nn.Module) -> None:
        """Let a ``ZeroShotSegmentor`` look for these classes, unless it does already.

        Raises:
            ValueError: A phrase is longer than the text context.
        """
        asked = model.class_names, model.background_threshold
        if asked != (self.names, self.background_threshold):
            model.set_background_threshold(self.background_threshold)
            model.set_class_names(self.names)


def parse_class_names(classes: str | Sequence[str]) -> list[str]:
    """Class names of a list, or of one string in which commas part them.

    ``'cat, grey sofa'`` or ``['cat', 'grey sofa']``; synonyms as ``'car|automobile'``. In a list a
    phrase may have commas.

    Raises:
        ValueError: There is no name, an empty one, or one twice.
    """
    parts = classes.split(',') if isinstance(classes, str) else list(classes)
    wrong = [part for part in parts if not isinstance(part, str)]
    if wrong:
        raise ValueError(f'expected class names as strings, but got {wrong[:3]}')
    names = [' '.join(part.split()) for part in parts]
    # 'a|' lacks a synonym as 'a,' lacks a name
    if not names or any(not phrase.strip() for name in names for phrase in name.split('|')):
        raise ValueError(
            f"expected class names like 'cat, grey sofa', but got {classes!r} with an empty name; "
            'remove the comma or bar too many'
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'expected every class name once, but got {twice} twice; remove one')
    return names


def make_query(
    classes: str | Sequence[str] | None,
    background: bool | None = None,
    background_threshold: float | None = None,
    configured_threshold: float | None = None,
) -> ClassQuery:
    """Decide on names, background and threshold.

    Args:
        classes (str | Sequence[str]): See :func:`parse_class_names`; 'background' may stand first.
        background (bool, optional): Pixels that fit no class become label 0, 'background'. Default:
            on where a threshold or 'background' is given, or the config has a threshold.
        background_threshold (float, optional): Score in (0, 1) that a class must reach. Default:
            the config's, or 0.4.
        configured_threshold (float, optional): That of the model's config.

    Raises:
        ValueError: The arguments contradict each other, or leave one class and nothing beside it.
    """
    if classes is None:
        raise ValueError("expected class names, but got none; give classes='cat, grey sofa'")
    words = parse_class_names(classes)
    named = words[0].lower() == BACKGROUND
    words = words[named:]
    if any(word.lower() == BACKGROUND for word in words):
        raise ValueError(f"expected 'background' as the first class, but got {classes!r}")
    if background is False and (named or background_threshold is not None):
        given = "the class 'background'" if named else f'the threshold {background_threshold}'
        raise ValueError(f'expected no background (background=False), but got {given}; drop one')
    thresholds = [t for t in (background_threshold, configured_threshold) if t is not None]
    if background is None:
        background = named or bool(thresholds)
    if not words or (len(words) == 1 and not background):
        raise ValueError(
            f'expected at least two classes without background, or one with, but got {classes!r}; '
            'add a class, or turn the background on (background=True, --background)'
        )
    if not background:
        return ClassQuery(tuple(words), None)
    threshold = [*thresholds, DEFAULT_BACKGROUND_THRESHOLD][0]
    if not 0 < threshold < 1:
        raise ValueError(f'expected a background_threshold in (0, 1), but got {threshold}')
    return ClassQuery(tuple(words), float(threshold))
