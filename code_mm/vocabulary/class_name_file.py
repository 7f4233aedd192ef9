"""Files with class names: a class a line, its names separated by '|'."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from code_mm.text_file import entries, text_encoding


@dataclass(frozen=True)
class ClassNameFile:
    """Class names that were read from a file.

    Attributes:
        names (tuple[str, ...]): In the order of the labels; 'car|automobile' for synonyms.
        source (str): The path as it was given.
        sha256 (str): Checksum of the file's bytes.
    """

    names: tuple[str, ...]
    source: str
    sha256: str

    @classmethod
    def read(cls, source: str | Path) -> ClassNameFile:
        """Read class names, a class a line, as :mod:`code_mm.text_file` reads texts.

        Raises:
            ValueError: There is no such file, it is no text, or a line has an empty name.
        """
        path = Path(source)
        if not path.is_file():
            raise ValueError(f'expected the path of a file with class names, but got {source!r}')
        content = path.read_bytes()
        try:
            text = content.decode(text_encoding(content))
        except UnicodeDecodeError as error:
            raise ValueError(
                f'expected class names in UTF-8, but {path} is not: {error}'
            ) from error
        classes = []
        for number, line in entries(text):
            names = [name.strip() for name in line.split('|')]
            if not all(names):
                raise ValueError(
                    f"expected a class a line, its names separated by '|', but line {number} of "
                    f'{path} is {line!r}'
                )
            classes.append('|'.join(names))
        if not classes:
            raise ValueError(f'expected class names in {path}, but it has none')
        return cls(tuple(classes), str(source), hashlib.sha256(content).hexdigest())
