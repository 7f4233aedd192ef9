"""Reading weight files of every kind without executing anything in them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from .inert_pickle import load_inert

# Where checkpoints keep the tensors beside optimizer states and the like.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict')
# The one way in which reading a TorchScript archive would run what stands in it.
_RUNS_ON_LOADING = b'__setstate__'
_INDEX = '.safetensors.index.json'


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> dict:
    """Read a checkpoint.

    Args:
        path (str | Path): safetensors (also the ``.safetensors.index.json`` of a file in several
            parts), a TorchScript archive (OpenAI's ``ViT-B-16.pt``) or a file of ``torch.save``.
            Of the latter tensors and plain values are taken; objects of other types become inert
            placeholders.
        map_location: As in ``torch.load``, for files of ``torch.save``.

    Returns:
        dict: The content of a ``torch.save`` file; of other files ``state_dict`` and ``meta``.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ValueError: The file is none of these, is damaged, or wants to run code.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise IsADirectoryError(f'expected a weight file, but {path.absolute()} is a folder')
    if not path.is_file():
        raise FileNotFoundError(f'expected a weight file, but there is none at {path.absolute()}')
    try:
        content = _reader_of(path)(path, map_location)
        if not isinstance(content, dict):
            raise TypeError(f'it holds no tensors by name, but a {type(content).__name__}')
    except Exception as error:
        raise ValueError(
            f'expected safetensors, a TorchScript archive or a file of torch.save, '
            f'but {path} cannot be read as one: {_reason(error)}'
        ) from error
    return content


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file.

    Args:
        path (str | Path): See :func:`read_checkpoint`.

    Returns:
        dict[str, Tensor]: Tensors by name; of a checkpoint, those under ``state_dict`` or
        ``model``.

    Raises:
        Exception: As :func:`read_checkpoint`.
    """
    return tensors_of(read_checkpoint(path))


def tensors_of(checkpoint: dict) -> dict[str, Tensor]:
    """The model's tensors in the content of a checkpoint."""
    for key in _WRAPPERS:
        if isinstance(checkpoint.get(key), dict):
            checkpoint = checkpoint[key]
            break
    return {name: value for name, value in checkpoint.items() if isinstance(value, Tensor)}


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI's are."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('constants.pkl') for name in archive.namelist())


def _reader_of(path: Path) -> Callable[[Path, Any], Any]:
    if path.name.endswith(_INDEX):
        return _read_parts
    if path.suffix == '.safetensors':
        return _read_safetensors
    return _read_torchscript if is_torchscript(path) else load_inert


def _read_safetensors(path: Path, map_location: Any) -> dict:
    with safe_open(path, framework='pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {'state_dict': tensors, 'meta': file.metadata() or {}}


def _read_parts(path: Path, map_location: Any) -> dict:
    places = json.loads(path.read_text())['weight_map']
    outside = [name for name in places.values() if Path(name).name != name]
    if outside:
        raise ValueError(f'it names parts in other folders: {outside[:3]}')
    tensors = {}
    for part in sorted(set(places.values())):
        tensors.update(_read_safetensors(path.parent / part, map_location)['state_dict'])
    missing = sorted(places.keys() - tensors.keys())
    if missing:
        raise ValueError(f'{len(missing)} of its tensors are in none of its parts: {missing[:3]}')
    return {'state_dict': tensors, 'meta': {}}


def _read_torchscript(path: Path, map_location: Any) -> dict:
    """TorchScript's reader would run every ``__setstate__`` of the archive; CLIP's has none."""
    with zipfile.ZipFile(path) as archive:
        code = [member for member in archive.infolist() if '/code/' in member.filename]
        if any(_RUNS_ON_LOADING in archive.read(member) for member in code):
            raise ValueError('the archive wants to run code of its own (__setstate__) on loading')
    model = torch.jit.load(path, map_location='cpu')
    return {'state_dict': dict(model.state_dict()), 'meta': {}}


def _reason(error: Exception) -> str:
    """The error in one line, without PyTorch's advice to read the file unsafely."""
    text = str(error).rpartition('WeightsUnpickler error: ')[2]
    return text.strip().split('\n')[0] or type(error).__name__
