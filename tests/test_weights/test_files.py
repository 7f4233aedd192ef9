"""Weight files: kinds, damage, metadata, and MMEngine's way to them. Pickles: the file beside."""

import ast
import hashlib
import json
import re
import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.infer import BaseInferencer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from safetensors.torch import save_file
from torch import nn

from code_mm.weights import read_checkpoint, read_tensors

STATE = {'a.weight': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(2)}


def same(found, expected=STATE):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def write_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


def write_script(state, path):
    """TorchScript, as OpenAI's archive is."""
    module = nn.ModuleDict({'a': nn.Linear(3, 2, bias=False)})
    module.register_buffer('b', torch.ones(2))
    module.load_state_dict(state)
    torch.jit.script(module).save(str(path))


def write_parts(state, path, places=None):
    places = places or {'a.weight': 'one.safetensors', 'b': 'two.safetensors'}
    for part in ('one.safetensors', 'two.safetensors'):
        own = {n: state[n] for n in state if places.get(n) == part}
        save_file(own, path.parent / part)
    path.write_text(json.dumps({'weight_map': places}))


WRITERS = {
    'x.safetensors': save_file,
    'x.safetensors.index.json': write_parts,
    'x.pth': torch.save,
    'legacy.pth': write_legacy,
    'script.pt': write_script,
    'state_dict.pth': lambda state, path: torch.save({'state_dict': OrderedDict(state)}, path),
}


@pytest.mark.parametrize('name', WRITERS)
def test_every_kind_of_file(tmp_path, name):
    WRITERS[name](STATE, tmp_path / name)
    same(read_tensors(tmp_path / name))


def test_parts_that_lack_tensors_or_are_elsewhere_are_told(tmp_path):
    path = tmp_path / 'model.safetensors.index.json'
    write_parts(STATE, path, {'a.weight': 'one.safetensors', 'c': 'two.safetensors'})
    for text, message in (
        (None, r"1 of its tensors are in none of its parts: \['c'\]"),
        ('{"weight_map": {"a": "../one.safetensors"}}', 'parts in other folders'),
        ('[' * 100_000, 'recursion'),
        ('{}' + ' ' * (2 << 20), 'longer than 2'),
    ):
        path.write_text(text or path.read_text())
        with pytest.raises(ValueError, match=f'cannot be read as one: .*{message}'):
            read_tensors(path)
    write_parts(STATE, path)
    (tmp_path / 'two.safetensors').write_text('version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(ValueError, match=r'two\.safetensors cannot be .* run `git lfs pull`'):
        read_tensors(path)


@pytest.mark.parametrize('name', ['x.safetensors', 'x.pth', 'legacy.pth', 'script.pt'])
@pytest.mark.parametrize('share', [0.3, 0.9])
def test_truncated_files_are_named(tmp_path, name, share):
    path = tmp_path / name
    WRITERS[name](STATE, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=f'{name} cannot be read as one: .*download it again'):
        read_checkpoint(path)


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors'])
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'empty; download it again'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'of Git LFS; run `git lfs pull`'),
        (b'\n<!DOCTYPE html>', 'a web page; download the file itself'),
        (b'Entry not found', "a text, 'entry not found'; download the file itself"),
        (b'\x1f\x8b\x08', 'a gzip archive; unpack it'),
        (b'\x89HDF\r\n', 'HDF5, as Keras writes; get the weights that PyTorch wrote'),
        (b'GGUF\x03', 'GGUF; get the weights that PyTorch wrote'),
        (b'\x80\x02}', 'cut off or damaged; download it again'),
        (b'PK\x03\x04', 'cut off or damaged; download it again'),
    ],
)
def test_files_of_another_kind_are_named_with_the_cure(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name} cannot be read as one: it is .*{message}'):
        read_tensors(tmp_path / name)


def test_a_saved_model_or_nothing_is_told_with_the_cure(tmp_path):
    for content in (nn.Linear(2, 2), {'model': nn.Linear(2, 2), 'epoch': 3}, {'epoch': 3}):
        torch.save(content, tmp_path / 'x.pth')
        with pytest.raises(ValueError, match=r'write it with torch\.save\(model\.state_dict\(\)'):
            read_tensors(tmp_path / 'x.pth')


def test_missing_files_are_named_with_the_nearest(tmp_path):
    (tmp_path / 'model.pth').touch()
    with pytest.raises(FileNotFoundError, match=r"modle\.pth' does not exist; did you mean"):
        read_tensors(tmp_path / 'modle.pth')
    with pytest.raises(FileNotFoundError, match='nor is there its folder'):
        read_tensors(tmp_path / 'none' / 'x.pth')
    with pytest.raises(IsADirectoryError, match='is a folder'):
        read_tensors(tmp_path)


class Harmful:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path('harm'),)


def test_whatever_mmengine_loads_is_data_only(tmp_path, monkeypatch, web_server):
    """A path, a URL, a name of a zoo or of ours: all end in our reader, or are refused."""
    monkeypatch.chdir(tmp_path)
    text = 'import pathlib; pathlib.Path("harm").touch()'  # MMEngine would run such a config
    info = dict(
        meta=dict(config=text, cfg=text, iter=3), message_hub=dict(runtime_info={'cfg': text})
    )
    torch.save({'state_dict': STATE, 'optimizer': Harmful(), **info}, 'a.pth')
    digits = hashlib.sha256(Path('a.pth').read_bytes()).hexdigest()[:8]
    shutil.copy('a.pth', f'resnet-{digits}.pth')
    url = f'{web_server}/resnet-{digits}.pth?x=1'
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    for name in ('get_torchvision_models', 'get_mmcls_models', 'get_external_models'):
        monkeypatch.setattr(mmengine_checkpoint, name, lambda: {'resnet': url})
    ours = [dict(Name='ours', Weights=url)]
    monkeypatch.setattr(BaseInferencer, '_get_models_from_metafile', lambda folder: ours)
    zoos = ('torchvision://resnet', 'open-mmlab://resnet', 'mmcls://resnet')
    for name in ('a.pth', url, 'ours', *zoos):
        found = CheckpointLoader.load_checkpoint(name, 'cpu')
        if name != 'mmcls://resnet':  # whose backbone alone is taken
            same(found['state_dict'])
            assert (found['meta'], found['message_hub']) == ({'iter': 3}, {'runtime_info': {}})
    Path(f'resnet-{digits}.pth').unlink()  # later loads take it from the cache
    same(CheckpointLoader.load_checkpoint(url)['state_dict'])
    with pytest.raises(ValueError, match='expected a model of the zoo torchvision'):
        CheckpointLoader.load_checkpoint('torchvision://other')
    for name in ('s3://a/b.pth', 'pavi://x', 'petrel:s3://a'):
        with pytest.raises(ValueError, match='download the file first'):
            CheckpointLoader.load_checkpoint(name)
    assert not Path('harm').exists()


OPENINGS = re.compile(
    r'^(pickle|dill|cloudpickle|joblib|shelve|marshal|code|codeop|yaml)(\.|$)'
    r'|^(eval|exec|compile|__import__|allow_pickle|shell)$'
    r'|(^|\.)(torch|jit|hub|mmengine|fileio)\.loads?$'
    r'|(^|\.)(load_state_dict_from_url|load_url|fromstring|import_module|read_pickle)$'
)
NOT_OF_A_FILE = {
    f'{file}: importlib.import_module'
    for file in ('compatibility.py', 'shard_opener.py', 'packages.py')
} | {'shard_opener.py: import_module'}


def openings(tree):
    """What could unpickle, import or run, by imports and calls."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names if not node.level]
        elif isinstance(node, ast.Call):
            keys = [key.arg for key in node.keywords if ast.unparse(key.value) != 'False']
            names = [ast.unparse(node.func), *{'allow_pickle', 'shell'}.intersection(keys)]
        yield from filter(OPENINGS.search, names)


@pytest.mark.parametrize('folder', ['code_mm', 'tools', 'projects'])
def test_nothing_else_unpickles_or_runs_what_a_file_holds(folder):
    found = {
        f'{path.name}: {opening}'
        for path in (Path(__file__).parents[2] / folder).rglob('*.py')
        for opening in openings(ast.parse(path.read_text()))
    }
    assert not found - NOT_OF_A_FILE


OPEN = """
import pickle as p
from torch import load
np.load(x, allow_pickle=True)
torch.jit.load(x)
Config.fromstring(x, '.py')
subprocess.run(x, shell=True)
"""


def test_the_walk_finds_openings():
    expected = 'pickle torch.load allow_pickle torch.jit.load Config.fromstring shell'
    assert ' '.join(openings(ast.parse(OPEN))) == expected
