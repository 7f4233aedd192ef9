"""Class names: files, synonyms, templates, and their embeddings."""

from .class_name_file import ClassNameFile
from .templates import EVALUATION_TEMPLATES, get_templates
from .vocabulary import (
    Vocabulary,
    embed_in_templates,
    embed_vocabulary,
    split_names,
    tokenize_phrases,
)

__all__ = [
    'EVALUATION_TEMPLATES',
    'ClassNameFile',
    'Vocabulary',
    'embed_in_templates',
    'embed_vocabulary',
    'get_templates',
    'split_names',
    'tokenize_phrases',
]
