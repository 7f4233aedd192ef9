"""docs/datasets.md: its configs are built, its tools are run, its reasons are all there are."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
from hostile_shards import good_jpeg
from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS

from code_mm.structures.unusable_sample import UNUSABLE_REASONS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'docs' / 'datasets.md').read_text()
COMMANDS = [
    line
    for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith('python ')
]


SNIPPETS = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)


@pytest.mark.parametrize('snippet', [text for text in SNIPPETS if text.startswith('dataset =')])
def test_snippet_builds(snippet, monkeypatch):
    monkeypatch.setattr('shutil.which', lambda name: name)  # curl
    assert DATASETS.build(Config.fromstring(snippet, '.py').dataset) is not None


def test_the_tagger_tags():
    (snippet,) = (text for text in SNIPPETS if 'TAGGERS' in text)
    exec(snippet, {})
    config = re.search(r"`dict\(type='LoadNouns', tagger=.*`", TEXT).group().strip('`')
    assert TRANSFORMS.build(eval(config))(dict(caption='the dog runs'))['nouns'] == ['dog']


def test_the_table_has_every_reason():
    table = TEXT[TEXT.index('| reason |') : TEXT.index('Grey, palette')]
    cells = [row.split('|')[1] for row in table.splitlines() if row.startswith('| `')]
    found = [name for cell in cells for name in re.findall('`(.*?)`', cell)]
    assert sorted(found) == sorted(UNUSABLE_REASONS)


def test_the_commands_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'photos').mkdir()
    rows = ['image,caption']
    for number in range(12):
        (tmp_path / 'photos' / f'{number}.jpg').write_bytes(good_jpeg(number))
        rows.append(f'{number}.jpg,a dog and a cat number {number}')
    (tmp_path / 'captions.csv').write_text('\n'.join(rows))
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        _, script, *args = shlex.split(command)
        workers = [] if 'shapes_world' in script or 'benchmark' in script else ['--workers', '1']
        monkeypatch.setattr(sys, 'argv', [script, *args, *workers])
        monkeypatch.syspath_prepend((ROOT / script).parent)
        spec = importlib.util.spec_from_file_location('tool', ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        try:
            module.main()
        except SystemExit as stop:
            assert not stop.code, (command, capsys.readouterr().out[-2000:])
    for file in ('mine/00000.tar', 'mine/00000.nouns.arrow', '../work_dirs/check/summary.json'):
        assert (tmp_path / 'data' / file).is_file()
    assert 'decoding and cropping alone' in capsys.readouterr().out
