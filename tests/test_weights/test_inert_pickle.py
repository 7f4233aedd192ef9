"""Foreign pickles: tensors are taken, nothing is executed, attacks are refused by name."""

import builtins
import collections
import functools
import importlib
import os
import pickle
import runpy
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from code_mm.weights.files import read_checkpoint, read_tensors
from code_mm.weights.inert_pickle import load_inert

WEIGHTS = {'masker.sim2mask.w': torch.tensor(3.0), 'x.weight': torch.arange(6.0).reshape(2, 3)}


class Call:
    """Unpickled unsafely, it calls a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.fixture
def config_library(monkeypatch):
    """Classes pickled as those of OmegaConf are, from a module that is gone when the file is read.

    Gives a function that makes such a config; ``used`` counts what reading did with the classes.
    """
    used = collections.Counter()
    module = types.ModuleType('omegaconf_like')

    class Metadata:
        def __init__(self):
            self.ref_type, self.object_type = typing_any(), dict
            self.flags = collections.defaultdict(list, a=[1])

        def __setstate__(self, state):
            used['setstate'] += 1
            self.__dict__.update(state)

    class DictConfig(collections.abc.MutableMapping):
        def __init__(self, content):
            self._content, self._metadata = content, Metadata()

        def __setstate__(self, state):
            used['setstate'] += 1
            self.__dict__.update(state)

        def __getitem__(self, key):
            return self._content[key]

        __setitem__ = __delitem__ = __iter__ = __len__ = None

    for kind in (Metadata, DictConfig):
        kind.__module__, kind.__qualname__ = module.__name__, kind.__name__
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return DictConfig, used


def typing_any():
    import typing

    return typing.Any


def release_like(config):
    return dict(
        model=collections.OrderedDict(WEIGHTS),
        optimizer=dict(state={0: dict(step=torch.tensor(3.0))}, param_groups=[dict(lr=0.1)]),
        step=50000,
        config=config,
        metrics={'val/miou': np.float64(31.8), 'all': np.array([1.0])},
    )


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('library', ['absent', 'present'])
def test_tensors_are_taken_from_beside_a_foreign_config(
    config_library, tmp_path, monkeypatch, zipped, library
):
    make, used = config_library
    logged = []
    monkeypatch.setattr(
        'code_mm.weights.inert_pickle.print_log', lambda text, **_: logged.append(text)
    )
    path = tmp_path / 'release.pth'
    config = make(dict(lr=0.1, inner=make({})))
    torch.save(release_like(config), path, _use_new_zipfile_serialization=zipped)
    if library == 'absent':
        del sys.modules['omegaconf_like']
    content = read_checkpoint(path)
    assert not used, 'the classes of the file were used'
    assert content['model'].keys() == WEIGHTS.keys()
    assert all(torch.equal(content['model'][name], value) for name, value in WEIGHTS.items())
    assert content['step'] == 50000
    assert content['optimizer']['param_groups'] == [dict(lr=0.1)]
    assert type(content['config']).__name__ == 'DictConfig'
    assert vars(content['config']) == {}
    (text,) = logged
    assert 'release.pth: only tensors and plain values' in text
    assert 'omegaconf_like.DictConfig, omegaconf_like.Metadata' in text
    assert read_tensors(path).keys() == WEIGHTS.keys()


def attacks(folder):
    """Payloads that make ``folder`` when they run, and what must be named in the refusal."""
    text = f'__import__("os").mkdir({str(folder)!r})'
    return {
        'os.system': (Call(os.system, f'mkdir {folder}'), 'posix.system'),
        'os.mkdir': (Call(os.mkdir, str(folder)), 'posix.mkdir'),
        'eval': (Call(eval, text), 'builtins.eval'),
        'exec': (Call(exec, text), 'builtins.exec'),
        '__import__': (Call(builtins.__import__, 'os'), 'builtins.__import__'),
        'getattr': (Call(getattr, Path(folder), 'mkdir'), 'builtins.getattr'),
        'getattr of a class': (Call(Path.mkdir, Path(folder)), 'builtins.getattr'),
        'subprocess': (Call(subprocess.Popen, ['mkdir', str(folder)]), 'subprocess.Popen'),
        'partial': (Call(functools.partial(os.mkdir, str(folder))), 'functools.partial'),
        'importlib': (Call(importlib.import_module, 'antigravity'), 'importlib.import_module'),
        'runpy': (Call(runpy.run_path, str(folder)), 'runpy.run_path'),
        'inner pickle': (Call(pickle.loads, pickle.dumps(Call(os.mkdir, 'x'))), 'pickle.loads'),
        'torch.load': (Call(torch.load, str(folder)), 'torch.serialization.load'),
        'torch.hub': (Call(torch.hub.load, 'a/b', 'c'), 'torch.hub.load'),
        'torch run': (
            Call(torch.utils.collect_env.run, f'mkdir {folder}'),
            'torch.utils.collect_env.run',
        ),
    }


NAMES = list(attacks('x'))


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('name', NAMES)
def test_attacks_are_refused_by_name_and_not_executed(tmp_path, name, zipped):
    folder, path = tmp_path / 'executed', tmp_path / 'evil.pth'
    payload, named = attacks(folder)[name]
    content = dict(release_like(payload), metrics=None)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    match = rf'evil\.pth cannot be read as one: it wants to run .*{named}'
    with pytest.raises(ValueError, match=match):
        read_checkpoint(path)
    assert not folder.exists()


def test_the_attacks_would_work():
    """Else the test above could not fail."""
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        for name in ('os.system', 'os.mkdir', 'eval', 'exec', 'getattr of a class', 'torch run'):
            folder = Path(root) / name.replace(' ', '_').replace('.', '_')
            pickle.loads(pickle.dumps(attacks(folder)[name][0], 2))
            assert folder.exists(), name


def test_functions_of_other_libraries_become_inert(tmp_path, monkeypatch):
    """A library's function that runs text is not called: neither as a class nor with its state."""
    module, called = types.ModuleType('gadgets'), []

    def run(*args):
        called.append(args)
        return [].append

    run.__module__, run.__qualname__ = 'gadgets', 'run'
    module.run = run
    monkeypatch.setitem(sys.modules, 'gadgets', module)
    payload = Call(run, 'import os')
    torch.save(dict(model=WEIGHTS, config=[payload, Call(run)]), tmp_path / 'x.pth')
    content = read_checkpoint(tmp_path / 'x.pth')
    assert not called
    assert type(content['config'][0]).__name__ == 'run'


class Raw:
    """Opcodes written by hand into a zip of torch.save: what no pickler would write."""

    GLOBAL = b'c%s\n%s\n'

    @staticmethod
    def write(path, body):
        import zipfile

        torch.save(dict(model=WEIGHTS), path)
        with zipfile.ZipFile(path) as archive:
            members = {n: archive.read(n) for n in archive.namelist()}
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
            for name, content in members.items():
                archive.writestr(name, body if name.endswith('data.pkl') else content)


@pytest.mark.parametrize(
    'body',
    [
        b'\x80\x02(S"mkdir executed"\nios\nsystem\n.',  # INST
        b'\x80\x02cos\nsystem\n(S"mkdir executed"\ntR.',
        b'\x80\x02c__builtin__\neval\n(S"1"\ntR.',
        b'\x80\x02cposix\nsystem\nX\x0e\x00\x00\x00mkdir executed\x85R.',
        b'\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0emkdir executed\x85R.',  # protocol 4
        b'\x80\x02X\x0e\x00\x00\x00mkdir executedQ.',  # persistent id that is no storage
        b'\x80\x02\x82\x01.',  # extension registry
        b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\nctorch.serialization\nload\n\x85R.',
        # BUILD on a function: would change its attributes
        b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.',
        b'\x80\x02cfoo\nbar\n}X\x01\x00\x00\x00aK\x01s\x86b.',
    ],
)
def test_hand_made_opcodes_are_refused(tmp_path, monkeypatch, body):
    monkeypatch.chdir(tmp_path)
    Raw.write(tmp_path / 'raw.pth', body)
    with pytest.raises(ValueError, match=r'raw\.pth cannot be read as one'):
        read_checkpoint(tmp_path / 'raw.pth')
    assert not (tmp_path / 'executed').exists()
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'a')


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / 'x.pth').write_bytes(pickle.dumps(Call(os.mkdir, str(tmp_path / 'executed'))))
    with pytest.raises(ValueError, match=r'x\.pth cannot be read as one'):
        read_checkpoint(tmp_path / 'x.pth')
    assert not (tmp_path / 'executed').exists()


@pytest.mark.parametrize('kind', ['float16', 'float32', 'float64', 'int32', 'int64', 'bool'])
def test_numpy_scalars_of_mmengine_checkpoints_are_read(tmp_path, kind):
    best = np.dtype(kind).type(1)
    torch.save({'message_hub': {'best': best}, 'state_dict': WEIGHTS}, tmp_path / 'a.pth')
    content = load_inert(tmp_path / 'a.pth')
    assert content['message_hub']['best'] == best
    assert content['message_hub']['best'].dtype == kind
    assert content['state_dict']['x.weight'].equal(WEIGHTS['x.weight'])


def test_the_list_of_what_may_be_read_is_not_changed(config_library, tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save(release_like(config_library[0]({})), tmp_path / 'x.pth')
    read_checkpoint(tmp_path / 'x.pth')
    assert set(torch.serialization.get_safe_globals()) == before


def test_advice_to_read_unsafely_is_not_passed_on(tmp_path):
    class Items(dict):
        pass

    Items.__module__, Items.__qualname__ = __name__, 'Items'
    globals()['Items'] = Items
    torch.save(dict(model=WEIGHTS, config=Items(a=1)), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='cannot be read as one: Can only SETITEM') as error:
        read_checkpoint(tmp_path / 'x.pth')
    assert 'weights_only' not in str(error.value)
    assert '\n' not in str(error.value)
