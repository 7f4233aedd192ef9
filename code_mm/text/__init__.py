"""Strings and token ids: tokenizer, prompt templates, noun selection, token labels."""

from .class_name_file import ClassNameFile
from .noun_selector import NounSelector
from .taggers import build_tagger
from .templates import EVALUATION_TEMPLATES, get_templates
from .token_labels import token_labels
from .tokenizer import clean_text, encode, end_of_text_index, token_texts, tokenize

__all__ = [
    'EVALUATION_TEMPLATES',
    'ClassNameFile',
    'NounSelector',
    'build_tagger',
    'clean_text',
    'encode',
    'end_of_text_index',
    'get_templates',
    'token_labels',
    'token_texts',
    'tokenize',
]
