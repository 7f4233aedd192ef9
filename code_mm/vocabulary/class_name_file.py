"""Files with class names: a class a line, its names separated by '|'."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

SHIPPED = Path(__file__).parent / 'class_names'


@dataclass(frozen=True)
class ClassNameFile:
    """Class names that were read from a file.

    Attributes:
        names (tuple[str, ...]): In the order of the labels; 'car|automobile' for synonyms.
        source (str): The name of a file that comes with the package, else the path.
        sha256 (str): Checksum of the file's bytes.
    """

    names: tuple[str, ...]
    source: str
    sha256: str

    @classmethod
    def read(cls, source: str | Path) -> ClassNameFile:
        """Read class names, a class a line; lines that begin with '#' are comments.

        Args:
            source (str | Path): A path, or the name of a file that comes with the package
                (``code_mm/vocabulary/class_names``), with or without ``.txt``.

        Raises:
            ValueError: There is no such file, it is not UTF-8, or a line is empty or without name.
        """
        path = _find(str(source))
        content = path.read_bytes()
        try:
            lines = content.decode('utf-8').splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(
                f'expected class names in UTF-8, but {path} is not: {error}'
            ) from error
        while lines and not lines[-1].strip():
            lines.pop()
        numbered = [(i, line) for i, line in enumerate(lines, 1) if not line.startswith('#')]
        names = [tuple(name.strip() for name in line.split('|')) for _, line in numbered]
        for (number, line), of_class in zip(numbered, names, strict=True):
            if not all(of_class):
                raise ValueError(
                    f"expected a class a line, its names separated by '|', but line {number} of "
                    f'{path} is {line!r}'
                )
        if not names:
            raise ValueError(f'expected class names in {path}, but it has none')
        shipped = path.parent == SHIPPED
        return cls(
            tuple('|'.join(of_class) for of_class in names),
            path.name if shipped else str(source),
            hashlib.sha256(content).hexdigest(),
        )


def _find(source: str) -> Path:
    places = [Path(source), SHIPPED / source, SHIPPED / f'{source}.txt']
    for path in places:
        if path.is_file():
            return path
    shipped = sorted(path.stem for path in SHIPPED.glob('*.txt'))
    raise ValueError(
        f'expected the path of a file with class names, or one of {shipped}, but got {source!r}'
    )
