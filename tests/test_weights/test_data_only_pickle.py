"""Foreign pickles: tensors are taken, nothing is executed, memory, depth and time are bounded."""

import builtins
import collections
import functools
import importlib
import io
import operator
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.collect_env
from mmengine.logging import HistoryBuffer
from torch import nn

from code_mm.weights import read_checkpoint, read_tensors
from code_mm.weights.data_only_pickle import Placeholder

WEIGHTS = {'masker.sim2mask.w': torch.tensor(3.0), 'x.weight': torch.arange(6.0).reshape(2, 3)}
DTYPES = [
    *('float64', 'float16', 'bfloat16', 'int64', 'bool', 'complex64'),
    *(['uint16'] if hasattr(torch, 'uint16') else []),  # without a storage of its own
]
BOTH = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


def same(found, expected=WEIGHTS):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.fixture
def logged(monkeypatch):
    found = []
    monkeypatch.setattr('code_mm.weights.files.print_log', lambda text, **_: found.append(text))
    return found


@contextmanager
def refused(path):
    """One sentence, in seconds, within twice the file's size and 64 MiB."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(ValueError, match=rf'{path.name} cannot be read as one: \S') as error:
            yield error
        assert time.monotonic() - start < 10
        assert tracemalloc.get_traced_memory()[1] < 2 * path.stat().st_size + (64 << 20)
    finally:
        tracemalloc.stop()
    assert '\n' not in str(error.value) and 'weights_only' not in str(error.value)


class Call:
    """Unpickled unsafely, it calls a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class State:
    """Unpickled unsafely, it takes over a state."""

    def __init__(self):
        self.__dict__['__class__'] = 'x'


class Items(dict):
    pass


# --- what is read


@BOTH
def test_tensors_and_plain_values_are_taken_from_beside_foreign_objects(tmp_path, logged, zipped):
    content = dict(
        model=collections.OrderedDict(WEIGHTS),
        optimizer=dict(state={0: dict(step=torch.tensor(3.0))}, param_groups=[dict(lr=0.1)]),
        step=50000,
        config=Items(a=State(), b=[collections.deque([1]), collections.defaultdict(list, a=[1])]),
        metrics={'val/miou': np.float64(31.8), 'all': np.array([[1.0, 2.0]]), (1, 'a'): {1, 2}},
        batch_norm=nn.BatchNorm2d(2).state_dict(),
        size=torch.Size([2, 3]),
        kind=torch.float16,
        path=Path('x'),
    )
    path = tmp_path / 'release.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(path)
    same(found['model'])
    assert found['optimizer'] == content['optimizer']
    assert found['metrics'].keys() == content['metrics'].keys()
    assert found['metrics']['val/miou'] == 31.8
    assert found['metrics']['val/miou'].dtype == 'float64'
    assert np.array_equal(found['metrics']['all'], [[1, 2]])
    assert (found['step'], found['size'], found['kind']) == (50000, (2, 3), torch.float16)
    assert found['batch_norm']._metadata == content['batch_norm']._metadata
    assert isinstance(found['config'], Placeholder) and isinstance(found['path'], Placeholder)
    (text,) = logged
    assert 'release.pth: only tensors and plain values are read' in text and '.Items' in text
    same(read_tensors(path))


@BOTH
@pytest.mark.parametrize('dtype', DTYPES)
def test_tensors_of_every_type_and_layout(tmp_path, zipped, dtype):
    base = torch.arange(24).to(getattr(torch, dtype)).reshape(4, 6)
    state = dict(a=base, view=base[1:, ::2], turned=base.T, empty=base[:0])
    state['parameter'] = nn.Parameter(base[0], requires_grad=False)
    torch.save(state, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / 'x.pth')
    same(found, state)
    found['a'][1, 0] = 1  # views share their memory as they did
    assert found['view'][0, 0] == found['turned'][0, 1] == found['a'][1, 0]


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('kind', ['float32', 'int32', 'bool', 'U5', 'complex128', 'float16'])
def test_numpy_arrays_and_numbers(tmp_path, kind, protocol):
    array = np.array([[1, 0, 3]], order='F').astype(kind)
    torch.save(dict(array=array, number=array[0, 0]), tmp_path / 'x.pth', pickle_protocol=protocol)
    renamed = tmp_path / 'y.pth'  # numpy 1 has another name of its core
    with zipfile.ZipFile(tmp_path / 'x.pth') as old, zipfile.ZipFile(renamed, 'w') as new:
        for info in old.infolist():
            new.writestr(info, old.read(info).replace(b'numpy._core.multi', b'numpy.core.multi'))
    for path in [tmp_path / 'x.pth'] + [renamed] * (protocol == 2):
        found = read_checkpoint(path)
        assert np.array_equal(found['array'], array)
        assert found['array'].dtype == array.dtype
        assert found['number'] == array[0, 0]


def test_histories_of_the_log_are_made_again(tmp_path, logged):
    history = HistoryBuffer([1.0, 2.0], [1, 1], 10)
    torch.save(dict(a=history, b=history), tmp_path / 'x.pth')
    found = read_checkpoint(tmp_path / 'x.pth')
    assert isinstance(found['a'], HistoryBuffer) and found['a'] is found['b']
    found['a'].update(3.0)
    assert (found['a'].mean(), found['a'].max_length) == (2.0, 10)
    assert not logged


class Script(nn.Module):
    """Writes a file when PyTorch loads it."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self.weight = nn.Parameter(torch.ones(2))

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.path = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(state[1], state[0])

    def forward(self, x: torch.Tensor):
        return x * self.weight


@pytest.mark.parametrize('code', ['code', 'CODE'])
def test_the_code_of_a_torchscript_archive_is_not_run(tmp_path, code):
    path, executed = tmp_path / 'active.pt', tmp_path / 'executed'
    torch.jit.script(Script(str(executed))).save(str(path))
    renamed = tmp_path / 'renamed.pt'
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(renamed, 'w') as new:
        for info in old.infolist():
            new.writestr(info.filename.replace('/code/', f'/{code}/'), old.read(info))
    with pytest.raises(ValueError, match='sets the state of a ScriptModule'):
        read_tensors(renamed)
    assert not executed.exists()
    torch.jit.load(str(path))  # PyTorch would run it
    assert executed.exists()


# --- what is never run


def attacks(folder):
    """Payloads that make ``folder`` when they run, by the name that stands in the file."""
    text = f'__import__("os").mkdir({str(folder)!r})'
    return {
        'posix.system': Call(os.system, f'mkdir {folder}'),
        'posix.mkdir': Call(os.mkdir, str(folder)),
        'builtins.eval': Call(eval, text),
        'builtins.exec': Call(exec, text),
        'builtins.__import__': Call(builtins.__import__, 'os'),
        'builtins.getattr': Call(Path.mkdir, Path(folder)),
        'Popen': Call(subprocess.Popen, ['mkdir', str(folder)]),
        'functools.partial': Call(functools.partial(os.mkdir, str(folder))),
        'operator.attrgetter': operator.attrgetter('a.b'),
        'importlib.import_module': Call(importlib.import_module, 'antigravity'),
        'pickle.loads': Call(pickle.loads, pickle.dumps(Call(os.mkdir, str(folder)))),
        'torch.serialization.load': Call(torch.load, str(folder)),
        'torch.storage._load_from_bytes': Call(torch.storage._load_from_bytes, b'x'),
        'torch.hub.load': Call(torch.hub.load, 'a/b', 'c'),
        'torch.utils.collect_env.run': Call(torch.utils.collect_env.run, f'mkdir {folder}'),
        'torch._tensor._rebuild_from_type_v2': Call(
            torch._tensor._rebuild_from_type_v2, os.mkdir, torch.Tensor, (str(folder),), None
        ),
        'torch._utils._rebuild_wrapper_subclass': Call(
            torch._utils._rebuild_wrapper_subclass, State, torch.float32, (9**9,), (1,), 0,
            torch.strided, 'cpu', False,
        ),
        'torch._utils._rebuild_qtensor': Call(
            torch._utils._rebuild_qtensor, None, 0, (9**9,), (1,), (torch.quint8, 1.0, 0), False, {}
        ),
    }  # fmt: skip


@BOTH
@pytest.mark.parametrize('name', list(attacks('x')))
def test_attacks_become_placeholders_that_are_named(tmp_path, monkeypatch, logged, name, zipped):
    monkeypatch.chdir(tmp_path)
    content = dict(model=WEIGHTS, config=attacks(tmp_path / 'executed')[name])
    torch.save(content, 'evil.pth', _use_new_zipfile_serialization=zipped)
    found = read_checkpoint('evil.pth')
    same(found['model'])
    assert isinstance(found['config'], Placeholder)
    assert name in logged[0]
    assert not Path('executed').exists()


def test_the_attacks_would_work(tmp_path):
    """Else the test above could not fail."""
    for name in ('posix.system', 'builtins.eval', 'builtins.getattr', 'pickle.loads'):
        folder = tmp_path / name
        pickle.loads(pickle.dumps(attacks(folder)[name], 2))
        assert folder.exists(), name


# --- files that no pickler writes


def write_raw(path, body, **members):
    """A zip of torch.save with a pickle of one's own in it."""
    torch.save(dict(model=WEIGHTS), path)
    with zipfile.ZipFile(path) as archive:
        content = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        for name, value in content.items():
            archive.writestr(name, body if name.endswith('data.pkl') else value)
        for name, value in members.items():
            archive.writestr(name, value)


STORAGE = (
    b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ'
)
REBUILD = b'\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n(%s%s)}tRs.'
HUGE = b'\x8b' + struct.pack('<I', 1 << 20) + b'\x7f' * (1 << 20) + b'q\x01'
# a list that holds one twice, which holds one twice ...: no text of it, and no hash, has an end
DOUBLED = b'\x80\x04]\x94' + b''.join(b']h%cah%ca\x94' % (i, i) for i in range(100))
# a text of 1 MB in the memo, again and again
ONE_TEXT = b'\x80\x02X' + struct.pack('<I', 1 << 20) + b'a' * (1 << 20) + b'q\x00'

RAW = {
    'a system call by INST': b'\x80\x02(S"mkdir executed"\nios\nsystem\n.',
    'a system call by REDUCE': b'\x80\x02cos\nsystem\n(S"mkdir executed"\ntR.',
    'protocol 4': b'\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0emkdir executed\x85R.',
    'a persistent id that is no storage': b'\x80\x02X\x0e\x00\x00\x00mkdir executedQ.',
    'the extension registry': b'\x80\x02\x82\x01.',
    'BUILD on a function': b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x01aK\x01sb.',
    'BUILD on a list': b'\x80\x02]}X\x01\x00\x00\x00aK\x01sb.',
    'a call of a text': b'\x80\x02X\x01\x00\x00\x00a)R.',
    'an empty stack': b'\x80\x020.',
    'a name that is a doubled list': DOUBLED + b'\x8c\x01a\x93.',
    'a storage whose key is a doubled list': DOUBLED
    + STORAGE.replace(b'X\x01\x00\x00\x000', b'h\x64') % b'K\x01' + b'.',
    'sides of a million digits': REBUILD % (STORAGE % b'K\x01', b'K\x00(' + HUGE + b'h\x01' * 30
    + b't(' + b'K\x01' * 31 + b't\x89'),
    'no end': b'\x80\x02}',
    'a length beyond the end': b'\x80\x02X\xff\xff\xff\xffabc.',
    'a length beyond all memory': b'\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.',
    'a storage that lies': REBUILD % (STORAGE % b'K\x07', b'K\x00K\x02\x85K\x01\x85\x89'),
    'a view beyond its storage': REBUILD % (STORAGE % b'K\x01', b'K\x00K\x02\x85K\x01\x85\x89'),
    'a negative offset': REBUILD % (STORAGE % b'K\x01', b'J\xff\xff\xff\xffK\x01\x85K\x01\x85\x89'),
    'one number seen a billion times': REBUILD
    % (STORAGE % b'K\x01', b'K\x00J\x00\x00\x00\x40\x85K\x00\x85\x89'),
    'open brackets': b'\x80\x02' + b'(' * 300_000 + b'.',
    'nested lists': b'\x80\x02' + b']' * 100_000 + b'a' * 99_999 + b'.',
    'nested tuples as a key': b'\x80\x02})' + b'\x85' * 100_000 + b'K\x01s.',
    'nested tuples as a counted value': b'\x80\x02ccollections\nCounter\n])'
    + b'\x85' * 100_000 + b'K\x01\x86a\x85R.',
    'millions of empty objects': b'\x80\x02(' + b'}' * 3_000_000 + b't.',
    'one text encoded a thousand times': ONE_TEXT
    + b'0(' + b'c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R' * 1000 + b't.',
    'a number of a million digits': b'\x80\x02L' + b'9' * 1_000_000 + b'L\n.',
    'keys of one hash': b'\x80\x02}('
    + b''.join(b'\x8a\x0a' + (k * (2**61 - 1)).to_bytes(10, 'little') + b'N' for k in range(1, 9))
    + b'u.',
}  # fmt: skip


@pytest.mark.parametrize('name', list(RAW))
def test_hand_made_pickles_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path('raw.pth')
    write_raw(path, RAW[name])
    with refused(path):
        read_checkpoint(path)
    assert not Path('executed').exists()
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'a')


def zip_of(path, *members, **keys):
    with zipfile.ZipFile(path, 'w', **keys) as archive:
        for name, content in members:
            archive.writestr(name, content)


def bomb(path):
    zip_of(path, ('x/data.pkl', b'\x80\x02}.' + b'\0' * 10**8), compression=zipfile.ZIP_DEFLATED)


def duplicate(path):
    zip_of(path, ('x/data.pkl', b'\x80\x02}.'), ('x/data.pkl', b'\x80\x02].'))


def overlapping(path):
    """A thousand members that are the same bytes."""
    zip_of(path, ('x/data.pkl', b'\x80\x02}.'), ('x/data/0', b'a' * 10_000))
    with zipfile.ZipFile(path, 'a') as archive:
        for i in range(1, 1000):
            info = zipfile.ZipInfo(f'x/data/{i}')
            last = archive.filelist[1]
            for name in ('header_offset', 'CRC', 'compress_size', 'file_size'):
                setattr(info, name, getattr(last, name))
            archive.filelist.append(info)
        archive._didModify = True


def long_table(path):
    zip_of(path, *((f'x/{i:0200}', b'') for i in range(30_000)))


def no_pickle(path):
    zip_of(path, ('x/constants.pkl', b''))


@pytest.mark.parametrize('write', [bomb, duplicate, overlapping, long_table, no_pickle])
def test_hostile_archives_are_refused(tmp_path, write):
    path = tmp_path / 'x.pth'
    write(path)
    with refused(path):
        read_checkpoint(path)


def test_legacy_files_name_their_storages_by_texts(tmp_path):
    key = ()
    for _ in range(100):
        key = (key, key)
    parts = 0x1950A86A20F9469CFC6C, 1001, dict(little_endian=True), {}, [key]
    (tmp_path / 'x.pth').write_bytes(b''.join(pickle.dumps(part, 2) for part in parts))
    with refused(tmp_path / 'x.pth'):
        read_checkpoint(tmp_path / 'x.pth')


def test_of_two_tables_of_contents_one_is_read(tmp_path):
    """PyTorch and Python would take different ones; there is one reader here."""
    first, second = io.BytesIO(), io.BytesIO()
    torch.save(dict(a=Call(os.mkdir, str(tmp_path / 'executed'))), first)
    torch.save(WEIGHTS, second)
    (tmp_path / 'x.pth').write_bytes(first.getvalue() + second.getvalue())
    same(read_checkpoint(tmp_path / 'x.pth'))
    assert not (tmp_path / 'executed').exists()
