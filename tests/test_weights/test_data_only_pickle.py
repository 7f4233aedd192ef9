"""Foreign pickles: tensors are taken, nothing is executed, memory, depth and time are bounded."""

import builtins
import collections
import functools
import importlib
import json
import operator
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.utils.collect_env
from hostile_weights import HOSTILE
from mmengine.logging import HistoryBuffer
from packaging.version import Version
from torch import nn

from code_mm.weights import read_checkpoint, read_tensors
from code_mm.weights.data_only_pickle import Placeholder

LOGS = 'code_mm.weights.files'
WEIGHTS = {'masker.sim2mask.w': torch.tensor(3.0), 'x.weight': torch.arange(6.0).reshape(2, 3)}
DTYPES = [
    *('float64', 'float16', 'bfloat16', 'int64', 'bool', 'complex64'),
    *(['uint16'] if hasattr(torch, 'uint16') else []),  # without a storage of its own
]
BOTH = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


def save(content, path, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def same(found, expected=WEIGHTS):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


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
    save(content, path, zipped)
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
    save(state, tmp_path / 'x.pth', zipped)
    found = read_checkpoint(tmp_path / 'x.pth')
    same(found, state)
    found['a'][1, 0] = 1  # views share their memory as they did
    assert found['view'][0, 0] == found['turned'][0, 1] == found['a'][1, 0]


@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('kind', ['float32', 'int32', 'bool', 'U5', 'complex128', 'float16'])
def test_numpy_arrays_and_numbers(tmp_path, kind, protocol):
    array = np.array([[1, 0, 3]], order='F').astype(kind)
    torch.save(dict(array=array, number=array[0, 0]), tmp_path / 'x.pth', pickle_protocol=protocol)
    ours, theirs = b'numpy.core.multi', b'numpy._core.multi'  # numpy 1, numpy 2
    if Version(np.__version__).major > 1:
        ours, theirs = theirs, ours
    renamed = tmp_path / 'y.pth'  # as the other numpy writes it
    with zipfile.ZipFile(tmp_path / 'x.pth') as old, zipfile.ZipFile(renamed, 'w') as new:
        for info in old.infolist():
            new.writestr(info, old.read(info).replace(ours, theirs))
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


# --- what is never run


class Script(nn.Module):
    """Writes a file when PyTorch loads it."""

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path, self.training = state
        torch.save(torch.ones(2), state[0])

    def forward(self, x: torch.Tensor):
        return x


@pytest.mark.parametrize('code', ['code', 'CODE'])
def test_the_code_of_a_torchscript_archive_is_not_run(tmp_path, code):
    path, executed = tmp_path / 'active.pt', tmp_path / 'executed'
    torch.jit.script(Script(str(executed))).save(str(path))
    renamed = tmp_path / 'renamed.pt'
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(renamed, 'w') as new:
        for info in old.infolist():
            # its source is not looked at either: PyTorch evaluates such a line on loading
            more = b'torch.ljust("a", 4000000000)' * info.filename.endswith('.py')
            new.writestr(info.filename.replace('/code/', f'/{code}/'), old.read(info) + more)
    with pytest.raises(ValueError, match='sets the state of a ScriptModule'):
        read_tensors(renamed)
    assert not executed.exists()
    torch.jit.load(str(path))  # PyTorch would run it
    assert executed.exists()


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
    attack = attacks(tmp_path / 'executed')[name]
    save(dict(model=WEIGHTS, config=attack), 'evil.pth', zipped)
    found = read_checkpoint('evil.pth')
    same(found['model'])
    assert isinstance(found['config'], Placeholder)
    assert name in logged[0]
    assert not Path('executed').exists()
    if name in ('posix.system', 'builtins.eval', 'builtins.getattr', 'pickle.loads'):
        pickle.loads(pickle.dumps(attack, 2))  # PyTorch and MMEngine would run it
        assert Path('executed').exists()


# --- files that no pickler writes: see hostile_weights.py


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """By name: the file, and what came of reading it in a process of its own."""
    folder = tmp_path_factory.mktemp('hostile')
    paths = {name: write(folder, name) for name, (write, _) in HOSTILE.items()}
    script = Path(__file__).parents[1] / 'hostile_weights.py'
    command = [sys.executable, str(script), *map(str, paths.values())]
    lines = subprocess.check_output(command, text=True, cwd=folder, timeout=300).splitlines()
    assert not (folder / 'executed').exists()
    return dict(zip(paths, zip(paths.values(), json.loads(lines[-1]), strict=True), strict=True))


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_files_are_refused_in_a_sentence_in_seconds_and_in_little_memory(outcomes, name):
    path, found = outcomes[name]
    assert found['died'] == 0
    assert re.search(rf'{path.name} cannot be read as one: .*{HOSTILE[name][1]}', found['error'])
    assert len(found['error'].splitlines()) == 1 and len(found['error']) < 1500
    assert found['seconds'] < 10
    assert found['megabytes'] < 2 * path.stat().st_size / 2**20 + 64
