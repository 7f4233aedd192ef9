"""Unpickling as data only: what may be built is a closed list, and nothing else is ever called.

Pickles of ``torch.save`` and of TorchScript are programs for a small stack machine. This one knows
tensors, numpy arrays and numbers, plain containers and MMEngine's ``HistoryBuffer``. Any other
name in a file, harmless or not, becomes an inert :class:`Placeholder`: it is never imported.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

MAX_DEPTH = 100  # containers within each other; MMEngine's checkpoints have fewer than ten
FREE_MEMORY = 48 << 20  # bytes that a pickle may ask for beyond the size of its file
_BYTES_PER_STEP = 200  # about the size of the largest object that one opcode makes
_MAX_DIMENSIONS = 32
# Beyond it integers are slow: different ones may have one hash, and their products are long.
_LARGEST = 1 << 60
# Within these bounds hardly any two tuples have one hash; beyond, thousands are easily found.
_LARGEST_IN_TUPLE, _LONGEST_TUPLE = 1 << 16, 4
_NUMPY_CODE = re.compile(r'b1|[iu][1248]|f(2|4|8|16)|c(8|16|32)|[SU][1-9]\d*')


@dataclass(eq=False, frozen=True)
class Placeholder:
    """Stands for an object that is not read, or for its type; whatever it is given is dropped."""

    name: str


@dataclass(eq=False)
class ScriptModule:
    """A module of a TorchScript archive: its attributes, without its code."""

    attributes: dict[str, Any] = field(default_factory=dict)


class Storage(NamedTuple):
    """The memory behind tensors, and the type that the file gives its elements."""

    memory: torch.UntypedStorage
    dtype: torch.dtype


class _Function(NamedTuple):
    """One of the functions below, which the pickle may call."""

    build: Callable


class DataUnpickler:
    """Reads a pickle, or several in a row.

    Args:
        stream (io.BufferedIOBase): Where it begins; afterwards, where it has ended.
        storage_of (Callable): From (dtype, key, number of elements) to a :class:`Storage`.
        file_size (int): Bytes of the whole file, by which the memory is bounded.

    Attributes:
        left_out (set[str]): Names of the pickle that became placeholders.
    """

    def __init__(
        self, stream: io.BufferedIOBase, storage_of: Callable[..., Storage], file_size: int
    ) -> None:
        self.left_out: set[str] = set()
        self._stream, self._storage_of = stream, storage_of
        self._memory = FREE_MEMORY + file_size
        self._stack: list = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The content.

        Raises:
            ValueError: The pickle is damaged, or asks for what data does not need.
        """
        self._memo.clear()
        name = ''
        while name != 'STOP':
            name, argument = self._next_step()
            if name in _CONSTANTS:
                self._stack.append(argument)
            elif name in _PUT:
                key = len(self._memo) if argument is None else _key(argument)
                self._memo[key] = self._stack[-1]
            elif name in _GET:
                self._stack.append(self._memo[argument])
            elif name == 'MARK':
                self._marks.append(len(self._stack))
            elif name == 'GLOBAL':
                self._stack.append(self._global(*argument.split(' ', 1)))
            elif name in _MAKE:
                count, make = _MAKE[name]
                self._stack.append(make(self, *self._pop(count)))
            elif name in _CHANGE:
                count, change = _CHANGE[name]
                change(self, self._pop(count))
            elif name not in ('PROTO', 'FRAME', 'STOP'):
                raise ValueError(f'its pickle has the opcode {name}, which no weights need')
        content = self._stack.pop()
        _check_depth(content)
        return content

    def _next_step(self) -> tuple[str, Any]:
        """An opcode's name and its argument, as ``pickletools.genops``, but texts are charged."""
        opcode = pickletools.code2op.get(self._stream.read(1).decode('latin-1'))
        if opcode is None:
            raise EOFError('its pickle has no end, or an opcode that does not exist')
        read, name = opcode.arg and opcode.arg.reader, opcode.name
        try:
            argument = read and _BYTES_OF_TEXT.get(name, read)(self._stream)
        except ValueError as error:  # it is shorter than stated
            raise EOFError(str(error)) from error
        if name in _BYTES_OF_TEXT:
            # decoded, all characters take what the largest one takes
            self._charge(len(argument) * (4 if _BEYOND_LATIN_1.search(argument) else 1))
            argument = argument.decode('utf-8', 'surrogatepass')
        self._charge(_BYTES_PER_STEP + (sys.getsizeof(argument) if name in _CONSTANTS else 0))
        return name, argument

    def _charge(self, size: int) -> None:
        self._memory -= size
        if self._memory < 0:
            raise ValueError('its pickle asks for much more memory than the file has bytes')

    def _pop(self, count: int | None) -> list:
        """So many values off the stack; None: all above the last mark."""
        start = self._marks.pop() if count is None else len(self._stack) - count
        if start < (self._marks[-1] if self._marks else 0):
            raise ValueError('its pickle takes what it has not put down')
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _global(self, module: str, name: str) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError('its pickle names something by no text')
        # Python 2 and 3, numpy 1 and 2 name the same functions differently
        full = f'{module}.{name}'.replace('__builtin__.', 'builtins.')
        full = full.replace('numpy.core.', 'numpy._core.')
        if full.startswith('__torch__.'):
            return _Function(ScriptModule)
        if full in _TYPES:
            return _TYPES[full]
        if full in _FUNCTIONS:
            return _Function(_FUNCTIONS[full])
        self.left_out.add(full)
        return Placeholder(full)

    def _call(self, function: Any, args: Any, *_) -> Any:
        if isinstance(function, Placeholder):
            return Placeholder(function.name)
        if not isinstance(function, _Function) or type(args) is not tuple:
            raise ValueError(f'its pickle calls a {type(function).__name__}')
        if any(isinstance(arg, Placeholder) for arg in args):
            return Placeholder('part of what is left out')
        # whatever is copied is charged: one text can be used a thousand times
        for arg in args:
            if isinstance(arg, (str, bytes, bytearray)):
                self._charge(len(arg))
            elif isinstance(arg, (list, tuple, dict)):
                self._charge(100 * len(arg))
        return function.build(*args)

    def _persistent(self, found: Any) -> Any:
        if not isinstance(found, tuple) or len(found) < 2 or found[0] not in ('storage', 'module'):
            raise ValueError('its pickle refers to something beside it that is no storage')
        if found[0] == 'module' or isinstance(found[1], Placeholder):
            return found[1]
        dtype, key, count = found[1], found[2], found[4]
        named = isinstance(dtype, torch.dtype) and isinstance(key, str)
        if not named or not isinstance(count, int) or count < 0:
            raise ValueError('its pickle describes a storage wrongly')
        if len(found) > 5 and found[5] is not None:
            raise ValueError('it was written by a PyTorch older than 0.4')
        return self._storage_of(dtype, key, count)

    def _append(self, values: list) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(map(_key, values))
        elif not isinstance(target, Placeholder):
            raise ValueError(f'its pickle appends to a {type(target).__name__}')

    def _set_items(self, values: list) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update(_pairs(zip(values[::2], values[1::2], strict=True)))
        elif not isinstance(target, Placeholder):
            raise ValueError(f'its pickle sets items of a {type(target).__name__}')

    def _build(self, values: list) -> None:
        target, (state,) = self._stack[-1], values
        if isinstance(state, dict):  # which may fill a thousand others, and be copied each time
            arrays = [value.nbytes for value in state.values() if isinstance(value, np.ndarray)]
            self._charge(100 * len(state) + sum(arrays))
        if isinstance(target, ScriptModule) and isinstance(state, dict):
            target.attributes.update(state)
        elif isinstance(target, OrderedDict) and isinstance(state, dict):
            if isinstance(state.get('_metadata'), dict):
                target._metadata = state['_metadata']  # versions of modules, of a state dict
        elif isinstance(target, np.dtype):
            if state[1] == '>':
                raise ValueError('an array of the other byte order')
        elif isinstance(target, np.ndarray):
            self._fill_array(target, *state)
        elif isinstance(target, HistoryBuffer):
            _fill_history(target, state)
            self.left_out.discard('builtins.getattr')  # of its methods, which it has anyway
        elif not isinstance(target, Placeholder):
            raise ValueError(f'its pickle sets the state of a {type(target).__name__}')

    def _fill_array(self, array: np.ndarray, version, shape, dtype, fortran, content) -> None:
        sized = isinstance(dtype, np.dtype) and isinstance(content, bytes) and _are_sizes(shape)
        if not sized or math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError('the size of an array is not that of its content')
        self._charge(len(content))
        array.__setstate__((1, tuple(shape), dtype, bool(fortran), content))


def _key(value: Any) -> Any:
    """A value that may be hashed: nothing nested, whose hash would be computed recursively."""
    parts, largest = (value, _LARGEST_IN_TUPLE) if isinstance(value, tuple) else ([value], _LARGEST)
    for part in parts:
        large = isinstance(part, int) and abs(part) >= largest
        if large or len(parts) > _LONGEST_TUPLE or (parts is value and isinstance(part, float)):
            raise ValueError('its pickle has a number or a tuple beyond all bounds as a key')
        if part is not None and not isinstance(part, (str, int, float, bytes, Placeholder)):
            raise ValueError(f'its pickle has a key of type {type(part).__name__}')
    return value


def _pairs(pairs: Iterable) -> Iterable[tuple]:
    return ((_key(key), value) for key, value in pairs)


def _are_sizes(numbers: Sequence) -> bool:
    few = isinstance(numbers, (tuple, list)) and len(numbers) <= _MAX_DIMENSIONS
    return few and all(isinstance(n, int) and 0 <= n < _LARGEST for n in numbers)


def _check_depth(content: Any) -> None:
    """Stop at containers that later steps, which are recursive, could not walk."""
    level, seen = [content], set()
    for _ in range(MAX_DEPTH):
        inner = []
        for value in level:
            if isinstance(value, ScriptModule):
                value = value.attributes
            if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
                seen.add(id(value))
                inner.extend(value.values() if isinstance(value, dict) else value)
        if not inner:
            return
        level = inner
    raise ValueError(f'its containers lie deeper than {MAX_DEPTH} in each other')


def _tensor(
    storage: Storage, offset, size, stride, grad=False, hooks=None, last=None, *_
) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError('a tensor stands on no storage')
    # types without a storage of their own are named last; others have metadata there
    dtype = last if isinstance(last, torch.dtype) else storage.dtype
    if not all(map(_are_sizes, ((offset,), size, stride))) or len(size) != len(stride):
        raise ValueError('the size of a tensor is wrong')
    count, held = math.prod(size), storage.memory.nbytes() // dtype.itemsize
    end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > held or (count and end >= held):
        raise ValueError('a tensor reaches beyond its storage')
    return torch.empty(0, dtype=dtype).set_(storage.memory, offset, tuple(size), tuple(stride))


def _parameter(data: Tensor, *_) -> Tensor:
    if not isinstance(data, Tensor):
        raise ValueError('a parameter holds no tensor')
    return data


def _bytes(text: str, encoding: str = 'latin1') -> bytes:
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise ValueError('its pickle encodes something that is no bytes')
    return text.encode('latin-1')


def _numpy_dtype(code: str, *_) -> np.dtype:
    if not isinstance(code, str) or not _NUMPY_CODE.fullmatch(code):
        raise ValueError('an array of a type that no weights have')
    return np.dtype(f'<{code}')


def _numpy_scalar(dtype: np.dtype, content: bytes) -> np.generic:
    if not isinstance(dtype, np.dtype) or len(content) != dtype.itemsize:
        raise ValueError('a number of the wrong size')
    return np.frombuffer(content, dtype)[0]


def _fill_history(history: HistoryBuffer, state: dict) -> None:
    values, counts = state['_log_history'], state['_count_history']
    numbers = isinstance(values, np.ndarray) and isinstance(counts, np.ndarray)
    if not numbers or values.shape != counts.shape or values.ndim != 1:
        raise ValueError('a history of the log without its numbers')
    history.__init__(values, counts, max(int(state['max_length']), 1))


_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_ELEMENTS = {
    **{'Double': 'float64', 'Float': 'float32', 'Half': 'float16', 'BFloat16': 'bfloat16'},
    **{'Long': 'int64', 'Int': 'int32', 'Short': 'int16', 'Char': 'int8', 'Byte': 'uint8'},
    **{'Bool': 'bool', 'ComplexFloat': 'complex64', 'ComplexDouble': 'complex128'},
}
# What the pickle may name without calling it.
_TYPES = {
    **{f'torch.{name}': dtype for name, dtype in _DTYPES.items()},
    **{f'torch.{kind}Storage': _DTYPES[name] for kind, name in _ELEMENTS.items()},
    'torch.storage.UntypedStorage': torch.uint8,
    'numpy.ndarray': 'numpy.ndarray',
}
_FUNCTIONS = {
    'collections.OrderedDict': lambda pairs=(): OrderedDict(_pairs(pairs)),
    'collections.defaultdict': lambda *_: {},
    'collections.Counter': lambda counts=None: dict(_pairs((counts or {}).items())),
    'builtins.set': lambda values=(): set(map(_key, values)),
    'builtins.frozenset': lambda values=(): set(map(_key, values)),
    '_codecs.encode': _bytes,
    'torch.Size': lambda sizes=(): torch.Size(sizes),
    **{f'torch._utils._rebuild_tensor{version}': _tensor for version in ('', '_v2', '_v3')},
    **{f'torch._utils._rebuild_parameter{kind}': _parameter for kind in ('', '_with_state')},
    'numpy.dtype': _numpy_dtype,
    'numpy._core.multiarray._reconstruct': lambda *_: np.empty(0),
    'numpy._core.multiarray.scalar': _numpy_scalar,
    'mmengine.logging.history_buffer.HistoryBuffer': lambda: HistoryBuffer(),
    **{f'torch.jit._pickle.build_{k}list': list for k in ('int', 'bool', 'double', 'tensor')},
    'torch.jit._pickle.restore_type_tag': lambda value, _: value,
}

_CONSTANTS = {
    *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
    *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'BINUNICODE', 'SHORT_BINUNICODE'),
    *('BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
}
# Of texts in UTF-8: their bytes are looked at before they are decoded.
_BYTES_OF_TEXT = {
    'SHORT_BINUNICODE': pickletools.read_bytes1,
    'BINUNICODE': pickletools.read_bytes4,
    'BINUNICODE8': pickletools.read_bytes8,
}
_BEYOND_LATIN_1 = re.compile(rb'[\xc4-\xff]')
_PUT = {'PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'}
_GET = {'GET', 'BINGET', 'LONG_BINGET'}
# Opcode -> how many values it takes off the stack (see `_pop`), and what it puts there instead.
_MAKE = {
    'NONE': (0, lambda _: None),
    'NEWTRUE': (0, lambda _: True),
    'NEWFALSE': (0, lambda _: False),
    'EMPTY_LIST': (0, lambda _: []),
    'EMPTY_DICT': (0, lambda _: {}),
    'EMPTY_SET': (0, lambda _: set()),
    'FROZENSET': (None, lambda _, *values: set(map(_key, values))),
    'TUPLE': (None, lambda _, *values: values),
    **{f'TUPLE{count}': (count, lambda _, *values: values) for count in (1, 2, 3)},
    'EMPTY_TUPLE': (0, lambda _: ()),
    'STACK_GLOBAL': (2, DataUnpickler._global),
    'BINPERSID': (1, DataUnpickler._persistent),
    'REDUCE': (2, DataUnpickler._call),
    'NEWOBJ': (2, DataUnpickler._call),
    'NEWOBJ_EX': (3, DataUnpickler._call),
}
# Likewise, with what becomes of the value below them.
_CHANGE = {
    'POP': (1, lambda *_: None),
    'POP_MARK': (None, lambda *_: None),
    'APPEND': (1, DataUnpickler._append),
    'APPENDS': (None, DataUnpickler._append),
    'ADDITEMS': (None, DataUnpickler._append),
    'SETITEM': (2, DataUnpickler._set_items),
    'SETITEMS': (None, DataUnpickler._set_items),
    'BUILD': (1, DataUnpickler._build),
}
