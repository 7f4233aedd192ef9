from .highlighting_prompts import RegionHighlightingPrompt, WordHighlightingPrompt
from .noun_context_prompt import NounContextPrompt

__all__ = ['NounContextPrompt', 'RegionHighlightingPrompt', 'WordHighlightingPrompt']
