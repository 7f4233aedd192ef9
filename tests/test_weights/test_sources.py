"""From names, addresses and the hub to files; the table of docs/weights.md."""

import builtins
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from foreign_clips import SIZES, OpenCLIP
from mmengine.infer import BaseInferencer

from code_mm.models.backbones.clip.loading import load_clip_weights
from code_mm.registry import MODELS
from code_mm.weights import read_checkpoint
from code_mm.weights.download import cached_path
from code_mm.weights.sources import is_here, local_file, public_models

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ('Training Data', 'Size', 'Licence', 'Activation', 'Heads', 'Image Statistics')
DATA = b'weights'
SHA = hashlib.sha256(DATA).hexdigest()
URL = f'http://127.0.0.1:9/a.pt#sha256={SHA}'  # where nobody answers


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def table(monkeypatch):
    entries = [
        dict(Name='by-url', Weights=URL),
        dict(Name='by-hand', Weights='b.pth', Metadata=dict(Source='https://example.com')),
        dict(Name='free', Config='x.py'),
    ]
    monkeypatch.setattr(BaseInferencer, '_get_models_from_metafile', lambda folder: iter(entries))


def test_a_name_is_a_file_in_the_cache_or_one_given_by_hand(table, cache, tmp_path):
    with pytest.raises(ConnectionError, match=f'put the file at {cache}/a.pt yourself'):
        local_file('by-url')
    assert not is_here('by-url')
    (cache / 'a.pt').write_bytes(DATA)
    assert local_file('by-url') == cache / 'a.pt' and is_here('by-url')
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights/a.pt').write_bytes(DATA)
    assert local_file('by-url') == Path('weights/a.pt')
    (tmp_path / 'weights/a.pt').write_bytes(DATA[1:])
    with pytest.raises(ValueError, match=r'weights/a.pt has .*another file of that name'):
        local_file('by-url')
    with pytest.raises(
        FileNotFoundError, match=r'from https://example.com, .* at weights/b.pth or'
    ):
        local_file('by-hand')
    (cache / 'b.pth').write_bytes(DATA)
    assert local_file('by-hand') == cache / 'b.pth'
    (tmp_path / 'by-hand').write_bytes(DATA)
    assert local_file('by-hand') == Path('by-hand')  # a file of one's own comes first


def test_names_that_are_none(table):
    with pytest.raises(ValueError, match='free is a config without any'):
        local_file('free')
    with pytest.raises(FileNotFoundError, match="'by-han' does not exist; did you mean 'by-hand'"):
        read_checkpoint('by-han')


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The cache of Hugging Face's library with the repository a/b, and no network."""
    constants = pytest.importorskip(
        'huggingface_hub.constants', reason='needs huggingface_hub (pip install code_mm[hub])'
    )
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hf'))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    folder = tmp_path / 'hf/models--a--b'
    (folder / 'refs').mkdir(parents=True)
    (folder / 'refs/main').write_text('0' * 40)
    (folder / 'snapshots' / ('0' * 40)).mkdir(parents=True)
    return folder / 'snapshots' / ('0' * 40)


def test_a_file_of_the_hub_and_the_config_beside_it(hub):
    model = OpenCLIP('gelu')
    torch.save(dict(model.state), hub / 'open_clip_pytorch_model.bin')
    (hub / 'open_clip_config.json').write_text(json.dumps(model.config(None)))
    assert local_file('hf-hub:a/b') == hub / 'open_clip_pytorch_model.bin'
    clip = MODELS.build(dict(type='CLIP', **SIZES, activation='gelu'))
    load_clip_weights(clip, 'hf-hub:a/b/open_clip_pytorch_model.bin')
    assert torch.equal(clip.visual.proj, model.state['visual.proj'])
    with pytest.raises(
        ValueError, match=r"expected activation='gelu', as .*open_clip_config\.json"
    ):
        load_clip_weights(MODELS.build(dict(type='CLIP', **SIZES)), 'hf-hub:a/b')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('a/c', 'expected one of open_clip_model.safetensors, .* of a/c, but: .*hf, or name'),
        ('a/b/x.bin', 'expected x.bin of a/b, but'),
        ('a', 'of a/, but: .*name'),
        ('a/b/../x', 'expected ../x of a/b'),
    ],
)
def test_what_the_hub_lacks_is_told_with_the_cure(hub, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        local_file(f'hf-hub:{name}')


def test_without_the_hubs_package(monkeypatch):
    real = builtins.__import__

    def without(name, *args):
        if name.startswith('huggingface_hub'):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ValueError, match=r'pip install "code_mm\[hub\]"'):
        local_file('hf-hub:a/b')


def test_the_table_in_the_docs_is_that_of_the_metafiles():
    rows = []
    for name, entry in public_models().items():
        if 'Weights' not in entry:
            continue
        data, checksum = entry['Metadata'], entry['Weights'].partition('#sha256=')[2][:8]
        checksum = checksum or ("the hub's" if entry['Weights'].startswith('hf-hub:') else 'none')
        cells = [str(data[key]) for key in COLUMNS]
        rows.append(f'| [`{name}`]({data["Source"]}) | {" | ".join(cells)} | {checksum} |')
    page = (ROOT / 'docs/weights.md').read_text()
    found = [line for line in page.splitlines() if line.startswith('| [`')]
    assert found == rows, '\n'.join(rows)


def test_openais_addresses_hold_their_checksums():
    of_openai = [e['Weights'] for n, e in public_models().items() if n.endswith('_openai')]
    assert len(of_openai) == 4
    for address in of_openai:
        assert re.search(r'/models/([0-9a-f]{64})/ViT-.*#sha256=\1$', address)
        assert cached_path(address).name == address.rpartition('/')[2].partition('#')[0]
