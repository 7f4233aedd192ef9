"""docs/datasets.md: its configs are built, its tools are run, its reasons are all there are."""

import re
import runpy
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
COMMANDS = re.findall(r'^python (\S+\.py) (.*)', TEXT, re.MULTILINE)
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
    cells = re.findall(r'^\| (`.*?) \|', table, re.MULTILINE)
    assert sorted(re.findall('`(.*?)`', ''.join(cells))) == sorted(UNUSABLE_REASONS)


def test_the_commands_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'photos').mkdir()
    rows = ['image,caption']
    for number in range(12):
        (tmp_path / 'photos' / f'{number}.jpg').write_bytes(good_jpeg(number))
        rows.append(f'{number}.jpg,a dog and a cat number {number}')
    (tmp_path / 'captions.csv').write_text('\n'.join(rows))
    assert len(COMMANDS) == 6
    for script, args in COMMANDS:
        workers = ['--workers', '1'] if 'dataset_converters' in script else []
        monkeypatch.setattr(sys, 'argv', [script, *shlex.split(args), *workers])
        monkeypatch.syspath_prepend((ROOT / script).parent)
        try:
            runpy.run_path(str(ROOT / script), run_name='__main__')
        except SystemExit as stop:
            assert not stop.code, (script, capsys.readouterr().out[-2000:])
    assert (tmp_path / 'data/mine/00000.tar').is_file()
    assert (tmp_path / 'data/mine/00000.nouns.arrow').is_file()
    assert (tmp_path / 'work_dirs/check/summary.json').is_file()
    assert 'decoding and cropping alone' in capsys.readouterr().out
