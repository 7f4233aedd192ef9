"""Strings in, token ids out."""

from .clip_tokenizer import clean_text, encode, end_of_text_index, token_texts, tokenize

__all__ = ['clean_text', 'encode', 'end_of_text_index', 'token_texts', 'tokenize']
