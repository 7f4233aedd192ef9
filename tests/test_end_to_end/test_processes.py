"""The tools as a user starts them: in two processes."""

import json
import math

import pytest


@pytest.fixture(scope='module')
def files(world, tmp_path_factory):
    """The config as a file, and a folder for the runs."""
    folder = tmp_path_factory.mktemp('runs')
    cfg = world.config(default_hooks__logger__interval=1, train_cfg__val_interval=100)
    # as published: mixed precision, which needs a GPU
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    cfg.dump(folder / 'tiny.py')
    return folder


def losses(work_dir):
    """Losses of every iteration from the log that a Runner writes."""
    (file,) = work_dir.glob('2*/vis_data/scalars.json')
    lines = map(json.loads, file.read_text().splitlines())
    return [{k: v for k, v in line.items() if 'loss' in k} for line in lines if 'loss' in line]


def test_two_processes_train(files, run_script):
    options = ('--work-dir', files / 'two', '--cfg-options', 'train_dataloader.batch_size=2')
    run_script('dist_train.sh', files / 'tiny.py', 2, *options)
    assert (files / 'two' / 'iter_2.pth').is_file()
    written = losses(files / 'two')
    assert len(written) == 2
    for values in written:
        assert len(values) == 10  # nine losses and their sum
        assert all(map(math.isfinite, values.values()))
