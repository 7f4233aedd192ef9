"""TCL: the whole caption in place of its nouns."""

from .parts import CaptionAsNoun, PlainTextPrompt, RegionBlanking

__all__ = ['CaptionAsNoun', 'PlainTextPrompt', 'RegionBlanking']
