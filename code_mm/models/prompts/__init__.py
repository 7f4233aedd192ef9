from .noun_context_prompt import NounContextPrompt
from .plain_text_prompt import PlainTextPrompt
from .region_blanking import RegionBlanking
from .region_highlighting_prompt import RegionHighlightingPrompt
from .word_highlighting_prompt import WordHighlightingPrompt

__all__ = [
    'NounContextPrompt',
    'PlainTextPrompt',
    'RegionBlanking',
    'RegionHighlightingPrompt',
    'WordHighlightingPrompt',
]
