"""The tools end to end, each as its own process: train, resume, evaluate, in one and in two."""

import json
import socket
from pathlib import Path

import pytest


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def metrics(work_dir: Path) -> dict:
    (file,) = work_dir.glob('2*/2*.json')
    return json.loads(file.read_text())


def without_times(values: dict) -> dict:
    return {key: value for key, value in values.items() if 'time' not in key}


@pytest.fixture(scope='module')
def trained(workplace, run):
    log = run('tools/train.py', 'tiny.py', '--work-dir', 'one')
    return workplace / 'one' / 'iter_2.pth', log


@pytest.fixture(scope='module')
def tested(workplace, run, trained):
    run('tools/test.py', 'tiny.py', trained[0], '--work-dir', 'test_one', '--out', 'predictions')
    return metrics(workplace / 'test_one')


def test_training_writes_a_checkpoint_that_needs_no_unsafe_pickle(trained, load_as_others_do):
    checkpoint, log = trained
    assert 'Falling back' not in log
    assert load_as_others_do(checkpoint)['meta']['iter'] == 2


def test_resume_goes_on_from_the_newest_checkpoint(workplace, run, trained):
    options = ['--cfg-options', 'train_cfg.max_iters=4']
    log = run('tools/train.py', 'tiny.py', '--work-dir', 'one', '--resume', *options)
    assert 'resumed epoch: 0, iter: 2' in log
    assert 'Falling back' not in log
    assert (workplace / 'one' / 'iter_4.pth').is_file()


def test_out_writes_one_label_map_per_image(workplace, tested):
    assert 0 <= tested['mIoU'] <= 100
    assert sorted(path.name for path in (workplace / 'predictions').iterdir()) == [
        '0.png',
        '1.png',
        '2.png',
    ]


def test_two_processes_measure_what_one_does(workplace, run, trained, tested):
    # three images on two processes: one image is dealt twice and must be counted once
    options = ['--work-dir', 'test_two']
    run('tools/dist_test.sh', 'tiny.py', trained[0], 2, *options, PORT=free_port())
    assert without_times(metrics(workplace / 'test_two')) == without_times(tested)


def test_without_checkpoint_the_weights_of_init_cfg_are_measured(workplace, run, trained, tested):
    source = (workplace / 'tiny.py').read_text()
    init = f"model['init_cfg'] = dict(type='Pretrained', checkpoint={str(trained[0])!r})\n"
    (workplace / 'free.py').write_text(source + init)
    log = run('tools/test.py', 'free.py', '--work-dir', 'test_free')
    assert 'No checkpoint given' in log
    assert without_times(metrics(workplace / 'test_free')) == without_times(tested)
