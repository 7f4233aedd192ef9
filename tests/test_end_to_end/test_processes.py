"""The tools as a user starts them: one process, then two."""

import json
import math
import socket

import pytest
import torch


@pytest.fixture(scope='module')
def files(world, tmp_path_factory):
    """The config as a file, and a folder for the runs."""
    folder = tmp_path_factory.mktemp('runs')
    cfg = world.config(default_hooks__logger__interval=1, train_cfg__val_interval=100)
    # as published: mixed precision, which needs a GPU
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    cfg.dump(folder / 'tiny.py')
    return folder


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def losses(work_dir):
    """Losses of every iteration from the log that a Runner writes."""
    (file,) = work_dir.glob('2*/vis_data/scalars.json')
    lines = map(json.loads, file.read_text().splitlines())
    return [{k: v for k, v in line.items() if 'loss' in k} for line in lines if 'loss' in line]


@pytest.fixture(scope='module')
def checkpoint(files, run_tool):
    """Trained by one process."""
    run_tool('train.py', files / 'tiny.py', '--work-dir', files / 'one')
    return files / 'one' / 'iter_2.pth'


def test_a_mixed_precision_config_trains_in_full_precision_on_a_cpu(files, checkpoint):
    assert checkpoint.is_file()
    (log,) = (files / 'one').glob('2*/*.log')
    notice = 'this machine trains on cpu: training in full precision (OptimWrapper) instead'
    assert log.read_text().count(notice) == 1


def test_two_processes_train(files, run_script):
    options = ('--work-dir', files / 'two', '--cfg-options', 'train_dataloader.batch_size=2')
    run_script('dist_train.sh', files / 'tiny.py', 2, *options, PORT=free_port())
    assert (files / 'two' / 'iter_2.pth').is_file()
    written = losses(files / 'two')
    assert len(written) == 2
    for values in written:
        assert len(values) == 10  # nine losses and their sum
        assert all(map(math.isfinite, values.values()))


def test_a_checkpoint_of_another_model_is_refused(files, checkpoint, run_tool, world):
    """Instead of MMEngine's warning and an evaluation of random weights."""
    world.config(model__image_segmenter__num_upsamplings=3).dump(files / 'other.py')
    match = r'this CoDeSegmentor, but .*iter_2.pth lacks 5 of its .*image_segmenter.decoder.2'
    with pytest.raises(ValueError, match=match):
        run_tool('test.py', files / 'other.py', checkpoint, '--work-dir', files / 'refused')


def test_weights_of_nothing_in_common_are_refused_for_training(files, run_tool, tmp_path):
    torch.save(dict(state_dict={'fc.weight': torch.ones(2)}), tmp_path / 'foreign.pth')
    option = f'load_from={tmp_path / "foreign.pth"}'
    with pytest.raises(ValueError, match=r'foreign.pth lacks \d+ of its \d+ parameters'):
        run_tool('train.py', files / 'tiny.py', '--work-dir', tmp_path, '--cfg-options', option)
