"""The tools as a user starts them: trained in two processes, resumed and tested in one."""

import json
import math

import pytest


@pytest.fixture(scope='module')
def folder(world, tmp_path_factory):
    """A folder for the runs, with the config as a file."""
    folder = tmp_path_factory.mktemp('runs')
    cfg = world.config(train_cfg__val_interval=100, train_dataloader__batch_size=2)
    # as published: mixed precision, which needs a GPU
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    cfg.dump(folder / 'tiny.py')
    return folder


def test_two_processes_train_and_one_goes_on(folder, run_script, run_tool):
    run_script('dist_train.sh', folder / 'tiny.py', 2, '--work-dir', folder / 'run')
    (file,) = (folder / 'run').glob('2*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    losses = [{k: v for k, v in line.items() if 'loss' in k} for line in lines if 'loss' in line]
    assert len(losses) == 2
    for values in losses:
        assert len(values) == 10  # nine losses and their sum
        assert all(map(math.isfinite, values.values()))
    options = ('--work-dir', folder / 'run', '--cfg-options', 'train_cfg.max_iters=3')
    run_tool('train.py', folder / 'tiny.py', '--resume', *options)
    assert (folder / 'run' / 'iter_3.pth').is_file()
    logs = [file.read_text() for file in sorted((folder / 'run').glob('2*/2*.log'))]
    assert 'resumed epoch: 0, iter: 2' in logs[-1]
