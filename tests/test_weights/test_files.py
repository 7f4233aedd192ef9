"""Weight files: kinds, damage, metadata, and MMEngine's way to them. Pickles: the file beside."""

import ast
import hashlib
import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
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
    'state_dict.pth': lambda state, path: torch.save({'state_dict': state, 'epoch': 3}, path),
    'model.pth': lambda state, path: torch.save({'model': OrderedDict(state)}, path),
    'model_state_dict.pth': lambda state, path: torch.save({'model_state_dict': state}, path),
}


@pytest.mark.parametrize('name', WRITERS)
def test_every_kind_of_file(tmp_path, name):
    WRITERS[name](STATE, tmp_path / name)
    same(read_tensors(tmp_path / name))


def test_parts_that_lack_tensors_or_are_elsewhere_are_told(tmp_path):
    path = tmp_path / 'model.safetensors.index.json'
    write_parts(STATE, path, {'a.weight': 'one.safetensors', 'c': 'two.safetensors'})
    with pytest.raises(ValueError, match=r"1 of its tensors are in none of its parts: \['c'\]"):
        read_tensors(path)
    path.write_text(json.dumps({'weight_map': {'a': '../one.safetensors'}}))
    with pytest.raises(ValueError, match='parts in other folders'):
        read_tensors(path)
    path.write_text('[' * 100_000)
    with pytest.raises(ValueError, match='cannot be read as one'):
        read_tensors(path)


@pytest.mark.parametrize('name', ['x.safetensors', 'x.pth', 'legacy.pth', 'script.pt'])
@pytest.mark.parametrize('share', [0.3, 0.9])
def test_truncated_files_are_named(tmp_path, name, share):
    path = tmp_path / name
    WRITERS[name](STATE, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=f'{name} cannot be read as one: .'):
        read_checkpoint(path)


def header(**tensors):
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, 'little') + text + b'\0' * 16


def stated(start, end, shape=(2,)):
    return {'dtype': 'F32', 'shape': shape, 'data_offsets': [start, end]}


@pytest.mark.parametrize(
    'content',
    [
        header(a=stated(0, 8), b=stated(4, 12)),  # overlapping
        header(a=stated(0, 800, (200,))),  # beyond the end
        header(a=stated(0, 8, (2, 1 << 60))),
        header(a=stated(8, 0)),
        (1 << 60).to_bytes(8, 'little') + b'{}',
        (200_000).to_bytes(8, 'little') + b'{"a":' * 40_000,
    ],
)
def test_false_headers_of_safetensors_are_refused(tmp_path, content):
    (tmp_path / 'x.safetensors').write_bytes(content)
    with pytest.raises(ValueError, match=r'x\.safetensors cannot be read as one: .'):
        read_tensors(tmp_path / 'x.safetensors')


@pytest.mark.parametrize(
    ('content', 'kind'),
    [
        (b'', 'it is empty; download it again'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS; run `git lfs'),
        (b'\n<!DOCTYPE html>', 'a web page; download the file itself'),
        (b'\x89PNG\r\n', '.'),
        (b'no weights', '.'),
    ],
)
@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors'])
def test_files_of_another_kind_are_named_with_the_cure(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{name} cannot be read as one: .*{kind}'):
        read_tensors(tmp_path / name)


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


def test_whatever_mmengine_loads_is_data_only(tmp_path, monkeypatch):
    """A path, a URL, a name of a zoo: all end in our reader, or are refused."""
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': STATE, 'meta': Harmful()}, 'a.pth')
    digits = hashlib.sha256(Path('a.pth').read_bytes()).hexdigest()[:8]
    url = f'https://example.com/resnet-{digits}.pth?x=1'
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    asked = []

    def download(url, target, digits, progress):
        asked.append((url, digits))
        Path(target).write_bytes(Path('a.pth').read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for name in ('get_torchvision_models', 'get_mmcls_models', 'get_external_models'):
        monkeypatch.setattr(mmengine_checkpoint, name, lambda: {'resnet': url})
    for name in ('a.pth', url, 'torchvision://resnet', 'open-mmlab://resnet', 'mmcls://resnet'):
        found = CheckpointLoader.load_checkpoint(name, 'cpu')['state_dict']
        if name != 'mmcls://resnet':  # whose backbone alone is taken
            same(found)
    assert asked == [(url, digits)]  # once
    with pytest.raises(ValueError, match='expected a model of the zoo torchvision'):
        CheckpointLoader.load_checkpoint('torchvision://other')
    for name in ('s3://a/b.pth', 'pavi://x', 'petrel:s3://a'):
        with pytest.raises(ValueError, match='download the file first'):
            CheckpointLoader.load_checkpoint(name)
    assert not Path('harm').exists()


OPENINGS = {
    *('torch.load', 'torch.jit.load', 'torch.hub.load', 'torch.hub.load_state_dict_from_url'),
    *('pickle.load', 'pickle.loads', 'pickle.Unpickler', 'yaml.load', 'eval', 'exec'),
}


@pytest.mark.parametrize('folder', ['code_mm', 'tools', 'projects'])
def test_nothing_else_unpickles_or_runs_what_a_file_holds(folder):
    found = []
    for path in sorted((Path(__file__).parents[2] / folder).rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                pickled = [k for k in node.keywords if k.arg == 'allow_pickle']
                allowed = any(getattr(k.value, 'value', True) for k in pickled)
                if ast.unparse(node.func) in OPENINGS or allowed:
                    found.append(f'{path.name}:{node.lineno}')
    assert not found
