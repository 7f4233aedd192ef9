from .noun_context_prompt import NounContextPrompt
from .region_highlighting_prompt import RegionHighlightingPrompt
from .word_highlighting_prompt import WordHighlightingPrompt

__all__ = [
    'NounContextPrompt',
    'RegionHighlightingPrompt',
    'WordHighlightingPrompt',
]
