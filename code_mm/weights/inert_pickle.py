"""Reading ``torch.save`` files that hold foreign objects beside the tensors, executing nothing."""

from __future__ import annotations

import io
import logging
import pickletools
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import get_torch_safe_globals

# Data types of Python that checkpoints hold beside tensors, e.g. in a pickled config. Everything
# else of the standard library has no place in a weight file.
_PLAIN_MODULES = frozenset({'argparse', 'datetime', 'decimal', 'enum', 'pathlib', 'typing', 'uuid'})
_PLAIN_NAMES = frozenset(
    {f'builtins.{name}' for name in ('bool', 'bytes', 'dict', 'float', 'frozenset', 'int', 'list')}
    | {f'builtins.{name}' for name in ('object', 'range', 'slice', 'str', 'tuple')}
    | {'collections.defaultdict', 'collections.deque', 'copyreg._reconstructor'}
)

# Of numpy's numbers, such as the best score in a checkpoint of MMEngine.
_DTYPES = [
    type(np.dtype(code)) for code in np.typecodes['AllInteger'] + np.typecodes['Float'] + '?'
]


class _Inert:
    """Stands for an object of the file; takes whatever the pickle gives it and does nothing."""

    def __new__(cls, *args, **kwargs) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *args, **kwargs) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_inert(path: Path, map_location: Any = 'cpu') -> Any:
    """Load a file of ``torch.save``; foreign objects in it become inert placeholders.

    PyTorch's restricted unpickler does the work: it calls nothing but PyTorch's own functions that
    rebuild tensors. Names that it does not know are given to it as placeholder classes, so the
    tensors of a checkpoint that pickles e.g. an OmegaConf config can be had without that config.

    Args:
        path (Path): File of ``torch.save``, zip or the older format.
        map_location: As in ``torch.load``.

    Raises:
        ValueError: The file names functions, or parts of Python, that no weights need.
    """
    names = _names_in(path) - set(torch._weights_only_unpickler._get_allowed_globals())
    trusted = get_torch_safe_globals() + _DTYPES  # what MMEngine's own checkpoints hold
    if names <= {f'{entry.__module__}.{entry.__qualname__}' for entry in trusted}:
        with torch.serialization.safe_globals(trusted):
            return torch.load(path, map_location=map_location, weights_only=True)
    return _load_with_placeholders(path, map_location, sorted(names))


def _load_with_placeholders(path: Path, map_location: Any, foreign: list[str]) -> Any:
    harmful = [name for name in foreign if not _is_data(name)]
    if harmful:
        raise ValueError(f'it wants to run {", ".join(harmful)}, which no weights need')
    placeholders = [(_placeholder(name), name) for name in foreign]
    with torch.serialization.safe_globals(placeholders):
        content = torch.load(path, map_location=map_location, weights_only=True)
    print_log(
        f'{path}: only tensors and plain values are read; objects of these types are left '
        f'out: {", ".join(foreign)}',
        logger='current',
        level=logging.WARNING,
    )
    return content


def _is_data(name: str) -> bool:
    """Whether a name may stand for data; other names, if called, would be code."""
    module, _, last = name.rpartition('.')
    top = module.partition('.')[0]
    if top == 'torch':  # PyTorch's functions could be misused, its classes become placeholders
        return last[:1].isupper()
    if top in sys.stdlib_module_names:
        return name in _PLAIN_NAMES or (module in _PLAIN_MODULES and last[:1].isupper())
    return True


def _placeholder(name: str) -> Any:
    if name == 'collections.defaultdict':
        return _plain_dict  # a dict that is filled afterwards
    return type(name.rpartition('.')[-1], (_Inert,), {'__module__': name.rpartition('.')[0]})


def _plain_dict(*args) -> dict:
    return {}


def _names_in(path: Path) -> set[str]:
    """All names that the pickles of the file refer to, found without running them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [n for n in archive.namelist() if n.endswith('data.pkl')]
            return set().union(*(_names_of_one(io.BytesIO(archive.read(n))) for n in pickles))
    names = set()
    with path.open('rb') as stream:
        for _ in range(5):  # magic number, version, system, content, keys of the storages
            names |= _names_of_one(stream)
    return names


def _names_of_one(stream: io.BufferedIOBase) -> set[str]:
    names = set()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ('GLOBAL', 'INST'):
            module, _, name = argument.partition(' ')
            # as PyTorch's unpickler: pickles carry the names of Python 2
            if (module, name) in NAME_MAPPING:
                module, name = NAME_MAPPING[module, name]
            else:
                module = IMPORT_MAPPING.get(module, module)
            names.add(f'{module}.{name}')
    return names
