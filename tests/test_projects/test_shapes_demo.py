"""The demo's bookkeeping: what is there is not done again, and the table says what was measured."""

import json
import sys

import mmcv
import numpy as np
import pytest

import code_mm  # noqa: F401  so that projects can be imported
from projects.shapes_world import ShapesWorld, demo, write_evaluation


@pytest.fixture
def finished(tmp_path):
    """A work folder in which every step is done, with known metrics; options for the demo."""
    data, work_dir = tmp_path / 'data', tmp_path / 'work'
    write_evaluation(ShapesWorld('hard', 64, 0), data, 2)
    made_by = dict(train=10, val=2, level='hard')
    (data / 'made_by.json').write_text(json.dumps(made_by))
    folders = {name: work_dir / folder for name, (folder, _) in demo.TRAINING_FREE.items()}
    for seed in (0, 1):
        base = work_dir / f'seed_{seed}'
        (base / 'train').mkdir(parents=True)
        (base / 'train' / 'finished').touch()
        (base / 'train' / 'last_checkpoint').write_text('iter_1.pth')
        folders |= {f'{name} {seed}': base / config for name, config in demo.TRAINED.items()}
    for i, folder in enumerate(folders.values()):
        metrics = {'mIoU': 10.0 + i, 'foreground/mIoU': 20.0 + i, 'object_auc': 0.5}
        (folder / 'label_maps').mkdir(parents=True)
        (folder / 'metrics.json').write_text(json.dumps(metrics))
        for image in (data / 'images/validation').glob('*.jpg'):
            labels = np.full((64, 64), i, np.uint8)
            mmcv.imwrite(labels, str(folder / 'label_maps' / f'{image.stem}.png'))
    return ['--data', data, '--work-dir', work_dir, '--train', 10, '--val', 2, '--seeds', 0, 1]


def test_finished_steps_are_not_run_again(finished, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['run.py', *map(str, finished)])
    monkeypatch.setattr(demo, 'run_command', lambda *command: pytest.fail(f'ran {command}'))
    demo.main()
    work_dir = finished[3]
    rows = {row['model']: row for row in json.loads((work_dir / 'results.json').read_text())}
    assert list(rows) == [*demo.TRAINING_FREE, *demo.TRAINED]
    assert rows['MaskCLIP']['mIoU with background'] == 10.0
    assert rows['CoDe']['mIoU with background'] == [14.0, 16.0]  # both seeds
    assert '15.0 ± 1.4' in capsys.readouterr().out
    assert len(list((work_dir / 'pictures').glob('segmentation_*.png'))) == 2
