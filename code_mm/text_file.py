"""Text files as people and their programs write them; everything here reads them through this."""

import codecs
from collections.abc import Iterator
from typing import TextIO


def text_encoding(start: bytes) -> str:
    """UTF-8, or UTF-16 where the first bytes are its mark; marks are no part of the text."""
    is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return 'utf-16' if is_utf16 else 'utf-8-sig'


def open_text(path: str) -> TextIO:
    """Open a text, line ends as they are, wrong bytes replaced."""
    with open(path, 'rb') as file:
        encoding = text_encoding(file.read(2))
    return open(path, encoding=encoding, errors='replace', newline='')


def entries(text: str) -> Iterator[tuple[int, str]]:
    """Lines and their numbers, without blank ones, comments and commas at their ends."""
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip().rstrip(',').rstrip()
        if line and not line.startswith('#'):
            yield number, line
