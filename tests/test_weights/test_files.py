"""Weight files: kinds, damage, metadata. Pickles have a test file of their own."""

import json

import pytest
import torch
from safetensors.torch import save_file

from code_mm.weights import read_checkpoint, read_tensors

STATE = {'a.weight': torch.arange(6.0).reshape(2, 3), 'b': torch.ones(2)}


def same(found, expected=STATE):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_safetensors_come_with_their_metadata(tmp_path):
    save_file(STATE, tmp_path / 'x.safetensors', {'activation': 'gelu'})
    content = read_checkpoint(tmp_path / 'x.safetensors')
    same(content['state_dict'])
    assert content['meta'] == {'activation': 'gelu'}


@pytest.mark.parametrize('key', [None, 'state_dict', 'model', 'model_state_dict'])
def test_tensors_are_found_under_the_usual_keys(tmp_path, key):
    content = STATE if key is None else {key: STATE, 'epoch': 3}
    torch.save(content, tmp_path / 'x.pth')
    same(read_tensors(tmp_path / 'x.pth'))


def index(tmp_path, places, state=STATE):
    for part in {'one.safetensors', 'two.safetensors'}:
        save_file({n: state[n] for n in state if places.get(n) == part}, tmp_path / part)
    path = tmp_path / 'model.safetensors.index.json'
    path.write_text(json.dumps({'weight_map': places}))
    return path


def test_a_file_in_parts(tmp_path):
    path = index(tmp_path, {'a.weight': 'one.safetensors', 'b': 'two.safetensors'})
    same(read_tensors(path))
    (tmp_path / 'two.safetensors').unlink()
    with pytest.raises(ValueError, match=r'index\.json cannot be read as one: .*two\.safetensors'):
        read_tensors(path)


def test_parts_lacking_tensors_or_elsewhere_are_told(tmp_path):
    path = index(tmp_path, {'a.weight': 'one.safetensors', 'c': 'two.safetensors'})
    with pytest.raises(ValueError, match=r"1 of its tensors are in none of its parts: \['c'\]"):
        read_tensors(path)
    path.write_text(json.dumps({'weight_map': {'a': '../one.safetensors'}}))
    with pytest.raises(ValueError, match='parts in other folders'):
        read_tensors(path)


@pytest.mark.parametrize('name', ['x.safetensors', 'x.pth', 'legacy.pth'])
@pytest.mark.parametrize('share', [0.3, 0.9])
def test_truncated_files_are_named(tmp_path, name, share):
    path = tmp_path / name
    if name == 'x.safetensors':
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=name == 'x.pth')
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=f'{name} cannot be read as one: .'):
        read_checkpoint(path)
