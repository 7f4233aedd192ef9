"""Class names of a config: a list, or a file."""

from __future__ import annotations

from collections.abc import Sequence

from code_mm.vocabulary import ClassNameFile


def read_class_names(
    class_names: str | Sequence[str] | None,
) -> tuple[list[str] | None, ClassNameFile | None]:
    """The names that a config gives, and the file that they come from, if any.

    Args:
        class_names (str | Sequence[str], optional): A list of names, or a file of them, see
            ``ClassNameFile.read``; None stays None.

    Raises:
        TypeError: It is neither a string nor a list of strings.
        ValueError: The file cannot be read.
    """
    if class_names is None:
        return None, None
    if isinstance(class_names, str):
        file = ClassNameFile.read(class_names)
        return list(file.names), file
    if not isinstance(class_names, Sequence) or not all(isinstance(n, str) for n in class_names):
        raise TypeError(
            'expected class_names as a list of strings, or the name of a file of class names, but '
            f'got {class_names!r}'
        )
    return list(class_names), None
