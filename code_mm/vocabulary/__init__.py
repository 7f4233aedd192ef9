"""Class names: files, synonyms, templates, and their embeddings."""

from .class_name_file import ClassNameFile
from .templates import EVALUATION_TEMPLATES, get_templates

__all__ = ['EVALUATION_TEMPLATES', 'ClassNameFile', 'get_templates']
