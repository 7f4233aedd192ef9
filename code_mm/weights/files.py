"""Reading weight files of every kind as data only."""

from __future__ import annotations

import io
import json
import logging
import mmap
import os
import sys
import zipfile
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from safetensors import safe_open
from torch import Tensor

from .data_only_pickle import DataUnpickler, ScriptModule, Storage
from .sources import local_file

# Where checkpoints keep the tensors beside optimizer states and the like.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict')
_INDEX = '.safetensors.index.json'
_LARGEST_TABLE = 2 << 20  # bytes of a header, an index or a config, which take 30 times as many
_LONGEST_NAME = 1000
_LARGEST_CONTENTS = 4 << 20  # bytes of a zip's table of contents
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_SAVE_TENSORS = 'write it with torch.save(model.state_dict(), ...)'
_CUT = 'it is cut off or damaged; download it again'
_OTHER_ORDER = 'it was written on a machine of the other byte order'
_OTHER_KINDS = (  # what a file begins with, what it is, what to do
    (b'version https://git-lfs', 'a pointer of Git LFS', 'run `git lfs pull`'),
    (b'<', 'a web page', 'download the file itself, not the page that shows it'),
    (b'\x1f\x8b', 'a gzip archive', 'unpack it'),
    (b'\x89hdf', 'a file of HDF5, as Keras writes', 'get the weights that PyTorch wrote'),
    (b'gguf', 'a file of GGUF', 'get the weights that PyTorch wrote'),
)


def read_checkpoint(path: str | Path) -> dict:
    """Read a checkpoint; its tensors stand on the CPU.

    Args:
        path (str | Path): Path, name or address (:func:`~.sources.local_file`) of safetensors (also
            the ``.safetensors.index.json`` of a file in several parts), a TorchScript archive
            (OpenAI's ``ViT-B-16.pt``) or a file of ``torch.save``. Of the latter tensors and plain
            values are taken; objects of other types become inert placeholders.

    Returns:
        dict: The content of a ``torch.save`` file; of other files ``state_dict`` and ``meta``.

    Raises:
        OSError: There is no such file, or it cannot be fetched.
        ValueError: The file is none of these, or is damaged.
    """
    path = local_file(path)
    try:
        if path.name.endswith(_INDEX):
            content = _read_parts(path)
        elif path.suffix == '.safetensors':
            content = _read_safetensors(path)
        else:
            content = _read_pickled(path)
        if not isinstance(content, dict):
            raise ValueError(
                f'it holds no tensors by name, but a {type(content).__name__}; {_SAVE_TENSORS}'
            )
    except Exception as error:  # of any kind: the file may hold anything
        raise ValueError(
            f'expected safetensors, a TorchScript archive or a file of torch.save, '
            f'but {path} cannot be read as one: {_reason(path, error)}'
        ) from error
    return content


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The model's tensors in a weight file, see :func:`read_checkpoint`."""
    return tensors_of(read_checkpoint(path), path)


def tensors_of(checkpoint: dict, source: str | Path) -> dict[str, Tensor]:
    """The model's tensors in the content of a checkpoint.

    Raises:
        ValueError: There are none, as where a model was saved and not its ``state_dict()``.
    """
    inner = (checkpoint[key] for key in _WRAPPERS if isinstance(checkpoint.get(key), dict))
    state = next(inner, checkpoint)
    found = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not found:
        keys = shorten(str([*checkpoint]), _LONGEST_NAME)
        raise ValueError(
            f'expected tensors by name, but {source} has none, only {keys}; {_SAVE_TENSORS}'
        )
    return found


def read_json(path: Path) -> Any:
    """The content of a JSON file that may hold anything, but no more than a config does."""
    with path.open('rb') as file:
        content = file.read(_LARGEST_TABLE + 1)
    if len(content) > _LARGEST_TABLE:
        raise ValueError(f'it is longer than {_LARGEST_TABLE >> 20} MiB')
    return json.loads(content)


def _read_safetensors(path: Path) -> dict:
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        # the library checks the rest: names, types, offsets without gaps or overlaps
        if not 2 <= length <= min(path.stat().st_size - 8, _LARGEST_TABLE) or file.read(1) != b'{':
            raise EOFError('it has no header of safetensors, or one of more than 2 MiB')
    with safe_open(path, framework='pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return {'state_dict': tensors, 'meta': file.metadata() or {}}


def _read_parts(path: Path) -> dict:
    places = read_json(path)['weight_map']
    outside = [n for n in places.values() if Path(n).name != n or n.endswith(_INDEX)]
    if outside:
        raise ValueError(f'it names parts in other folders: {outside[:3]}')
    tensors = {}
    for part in sorted(set(places.values())):
        tensors.update(read_checkpoint(path.parent / part).get('state_dict', {}))
    missing = sorted(places.keys() - tensors.keys())
    if missing:
        raise ValueError(f'{len(missing)} of its tensors are in none of its parts: {missing[:3]}')
    return {'state_dict': tensors, 'meta': {}}


def _read_pickled(path: Path) -> Any:
    with _BoundedFile(path) as file:
        zipped = file.read(4) == b'PK\x03\x04'
        content, left_out = _read_zip(file) if zipped else _read_legacy(file)
    if left_out:
        print_log(
            f'{path}: only tensors and plain values are read; objects of these types are left '
            f'out: {shorten(", ".join(sorted(left_out)), _LONGEST_NAME)}',
            logger='current',
            level=logging.WARNING,
        )
    if isinstance(content, ScriptModule):
        return {'state_dict': _tensors_of_module(content), 'meta': {}}
    return content


class _BoundedFile(io.FileIO):
    """A file of which no more than ``largest`` bytes are read at once."""

    largest = _LARGEST_CONTENTS  # until the zip's table of contents has been read

    def read(self, size: int = -1) -> bytes:
        if size > self.largest:
            raise ValueError('its table of contents is too long')
        return super().read(size)

    @property
    def size(self) -> int:
        return os.fstat(self.fileno()).st_size


def _read_zip(file: _BoundedFile) -> tuple[Any, set[str]]:
    archive = zipfile.ZipFile(file)
    file.largest = sys.maxsize
    members = {info.filename: info for info in archive.infolist()}
    # PyTorch's own reader does not look at upper and lower case
    pickles = [name for name in members if name.lower().endswith('/data.pkl')]
    if len(members) < len(archive.infolist()) or len(pickles) > 1:
        raise ValueError('it has two members of one name')
    roots = [name.removesuffix('data.pkl') for name in pickles if name.endswith('/data.pkl')]
    if len(roots) != 1 or roots[0].count('/') != 1:
        raise ValueError('it is a zip archive, but none of PyTorch; unpack it and name the file')
    # a second table of contents moves what the first one lists, and readers differ in which counts
    if min(info.header_offset for info in members.values()):
        raise ValueError('it holds something in front of its first member')
    stored = [info for info in members.values() if info.compress_type == zipfile.ZIP_STORED]
    if sum(info.file_size for info in stored) > file.size:
        raise ValueError('its members are together larger than the file')

    def read(name: str) -> bytes:
        info = members[roots[0] + name]
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f'{info.filename} is compressed, which PyTorch does not do')
        return archive.read(info)

    if f'{roots[0]}byteorder' in members and read('byteorder') != b'little':
        raise ValueError(_OTHER_ORDER)
    storages: dict[str, torch.UntypedStorage] = {}

    def storage_of(dtype: torch.dtype, key: str, count: int) -> Storage:
        if key not in storages:
            # a copy that may be written to
            content = np.frombuffer(bytearray(read(f'data/{key}')), np.uint8)
            storages[key] = torch.from_numpy(content).untyped_storage()
        if storages[key].nbytes() < count * dtype.itemsize:
            raise ValueError(f'storage {key} is not as large as stated')
        return Storage(storages[key], dtype)

    unpickler = DataUnpickler(io.BytesIO(read('data.pkl')), storage_of, file.size)
    return unpickler.load(), unpickler.left_out


def _read_legacy(file: _BoundedFile) -> tuple[Any, set[str]]:
    """A number, a version and a description; the content; the keys; the storages behind them."""
    stream = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    storages: dict[str, Storage] = {}
    left = file.size

    def storage_of(dtype: torch.dtype, key: str, count: int) -> Storage:
        """Memory to be filled afterwards, together not more than the file has."""
        nonlocal left
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                raise ValueError(f'storage {key} is not as large as stated')
            storages[key] = Storage(torch.UntypedStorage(count * dtype.itemsize), dtype)
        return Storage(storages[key].memory, dtype)

    unpickler = DataUnpickler(stream, storage_of, file.size)
    if unpickler.load() != _LEGACY_MAGIC:
        raise ValueError('it is no file of torch.save')
    unpickler.load()
    if not unpickler.load()['little_endian']:
        raise ValueError(_OTHER_ORDER)
    content, keys = unpickler.load(), unpickler.load()
    for key in keys:
        if not isinstance(key, str) or key not in storages:  # others may take long to be hashed
            raise ValueError('it names storages that no tensor has')
        memory, dtype = storages.pop(key)
        if int.from_bytes(stream.read(8), 'little') * dtype.itemsize != memory.nbytes():
            raise ValueError(f'storage {key} is not as large as stated')
        start, size = stream.tell(), memory.nbytes()
        if start + size > file.size:
            raise ValueError(_CUT)
        behind = torch.from_numpy(np.frombuffer(stream, np.uint8, size, start))
        torch.empty(0, dtype=torch.uint8).set_(memory).copy_(behind)
        stream.seek(start + size)
    if storages:
        raise ValueError(f'it lacks the storages {sorted(storages)[:3]}')
    return content, unpickler.left_out


def _tensors_of_module(module: ScriptModule) -> dict[str, Tensor]:
    """What ``state_dict`` gives: tensors by dotted names, those of each module once."""
    tensors, seen, waiting = {}, set(), [('', module)]
    while waiting:
        prefix, one = waiting.pop()
        if len(prefix) > _LONGEST_NAME:
            raise ValueError(f'the names of its modules are longer than {_LONGEST_NAME} letters')
        if id(one) in seen:
            continue
        seen.add(id(one))
        for name, value in one.attributes.items():
            if isinstance(value, ScriptModule):
                waiting.append((f'{prefix}{name}.', value))
            elif isinstance(value, Tensor):
                tensors[f'{prefix}{name}'] = value
    return tensors


def _reason(path: Path, error: Exception) -> str:
    with path.open('rb') as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return 'it is empty; download it again'
    for beginning, kind, cure in _OTHER_KINDS:
        if start.startswith(beginning):
            return f'it is {kind}; {cure}'
    text = shorten(str(error).strip().split('\n')[0], _LONGEST_NAME) or type(error).__name__
    answer = start.decode('latin-1')
    if len(answer) < 64 and answer.isprintable() and path.suffix != '.json':  # a server's
        return f'it is a text, {answer!r}; download the file itself'
    told = type(error) is ValueError or isinstance(error, OSError)
    return text if told else f'{_CUT} ({text})'
