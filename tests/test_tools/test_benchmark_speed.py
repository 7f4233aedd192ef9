"""tools/benchmark: train_step.py, predict.py and pamr.py on a tiny model, in this process."""

import copy
import json
import runpy
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from tiny_configs import load, shrink

from code_mm.models.post_processing import PAMR

FOLDER = Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'
DTYPES = ('fp32', 'bf16')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('benchmark') / 'tiny.py'
    shrink(load('_base_/models/code_vit-b16.py')).dump(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, config):
    """``run('pamr.py', ...)`` -> exit status, figures of --json, output."""

    def run_tool(name, *options):
        figures = tmp_path / 'new' / 'figures.json'
        common = ['--config', config, '--rounds', 1, '--threads', 1, '--json', figures]
        monkeypatch.syspath_prepend(str(FOLDER))
        monkeypatch.setattr(sys, 'argv', [str(a) for a in (name, *common, *options)])
        threads, state = torch.get_num_threads(), torch.get_rng_state()
        try:
            runpy.run_path(str(FOLDER / name), run_name='__main__')
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            torch.set_num_threads(threads)
            torch.set_rng_state(state)
        out = capsys.readouterr()
        values = json.loads(figures.read_text()) if figures.is_file() else None
        return code, values, out.out + out.err

    return run_tool


def positive(figures, *names):
    assert all(figures[name] > 0 for name in names), figures


@pytest.mark.parametrize('dtype', DTYPES)
def test_train_step(run, dtype):
    code, figures, output = run('train_step.py', '--dtype', dtype, '--batch-size', 2)
    assert code == 0, output
    positive(figures, 'step_u', 'step_memory_mb', 'step_seconds', 'unit_seconds')
    assert figures['step_memory_mb'] > figures['optimiser_state_mb'] > 0
    parts = figures['parts_u']
    losses = {name.split(',')[0] for name in parts if name.startswith('loss ')}
    assert len(losses) == 9
    for part in ('decoder', 'masks', 'highlighted images', 'text: highlighted', *losses):
        assert parts[f'{part}, forward'] > 0 and parts[f'{part}, backward'] > 0, part
    # frozen, and without gradient to anything learnable
    for part in ('trunk (11 frozen blocks)', 'text: guides'):
        assert parts[f'{part}, forward'] > 0 and f'{part}, backward' not in parts
    assert sum(parts.values()) == pytest.approx(figures['step_u'])
    assert 'optimiser' in output and 'peak memory above the model' in output
    assert figures['setting']['dtype'] == dtype and figures['setting']['batch_size'] == '2'


def test_the_timed_step_is_the_step_of_training(config, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import timing

    monkeypatch.setattr(sys, 'argv', ['x', '--config', str(config), '--threads', '1'])
    tool = runpy.run_path(str(FOLDER / 'train_step.py'))
    step, _ = tool['build_step'](tool['parse_args']())
    twin = copy.deepcopy(step.model)
    before = {name: p.detach().clone() for name, p in twin.named_parameters()}
    schedule = load('_base_/schedules/code_50k.py').optim_wrapper
    twin_wrapper = build_optim_wrapper(twin, dict(schedule, type='OptimWrapper', _scope_='mmseg'))
    torch.manual_seed(5)
    twin.train_step(step.data, twin_wrapper)
    torch.manual_seed(5)
    # processor time: what else runs on this machine must not count
    monkeypatch.setattr(timing, 'clock', time.process_time)
    start = time.process_time()
    parts = step.parts()
    # nothing of the step is left out, but for the watching itself
    assert 0.3 < sum(parts.values()) / (time.process_time() - start) < 1
    moved = 0
    for name, parameter in step.model.named_parameters():
        assert torch.equal(parameter, dict(twin.named_parameters())[name]), name
        moved += not torch.equal(parameter, before[name])
    assert moved > 20


def test_more_nouns_and_other_images(run, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import timing

    monkeypatch.setattr(timing, 'clock', timing.clock)  # put back afterwards
    options = ('--processor-time', '--nouns', 3, '--image-size', 64, '--batch-size', 3)
    code, _, output = run('train_step.py', *options)
    assert code == 0, output
    assert '3 nouns per caption' in output


@pytest.mark.parametrize('side', [16, 64])
def test_image_size_is_what_the_model_sees(config, monkeypatch, side):
    monkeypatch.syspath_prepend(str(FOLDER))
    options = ['--config', str(config), '--threads', '1', '--image-size', str(side)]
    monkeypatch.setattr(sys, 'argv', ['x', *options])
    tool = runpy.run_path(str(FOLDER / 'train_step.py'))
    step, _ = tool['build_step'](tool['parse_args']())
    assert step.model.data_preprocessor(step.data)['inputs'].shape == (4, 3, side, side)


@pytest.mark.parametrize('dtype', DTYPES)
def test_predict(run, dtype):
    options = ('--window', 32, '--classes', 7, '--shorter-side', 32, '--dtype', dtype)
    code, figures, output = run('predict.py', *options, '--benchmarks', 'voc21', 'cityscapes')
    assert code == 0, output
    positive(figures, 'window_u', 'window_pamr_u', 'window_no_mix_u', 'window_no_mix_pamr_u')
    positive(figures, 'window_memory_mb', *(f'window_{k}_memory_mb' for k in ('pamr', 'no_mix')))
    assert {'PAMR', 'mix', 'frozen branch', 'decoder'} <= figures['parts_u'].keys()
    assert all(units > 0 for units in figures['parts_u'].values())
    rows = figures['benchmarks']
    assert list(rows) == ['voc21', 'cityscapes']
    voc, city = (dict(row) for row in rows.values())
    assert voc.pop('images_per_second') > 0 and city.pop('images_per_second') > 0
    assert voc == dict(classes=21, height=32, width=43)  # of 500 x 375
    assert city == dict(classes=19, height=32, width=64)


def test_predict_without_benchmarks(run):
    code, figures, output = run('predict.py', '--window', 32, '--classes', 3, '--benchmarks')
    assert code == 0 and figures['benchmarks'] == {} and 'Whole images' not in output


@pytest.mark.parametrize('dtype', DTYPES)
def test_pamr(run, dtype):
    code, figures, output = run('pamr.py', '--window', 32, '--classes', 9, '--dtype', dtype)
    assert code == 0, output
    positive(figures, 'speedup', 'memory_ratio', 'pamr_u', 'plain_u', 'pamr_memory_mb')
    ratio = figures['pamr_memory_mb'] / figures['plain_memory_mb']
    assert figures['memory_ratio'] == pytest.approx(ratio) and ratio < 0.5
    assert figures['grid'] == 16  # 4 patches a side, doubled twice
    assert figures['difference'] < (1e-5 if dtype == 'fp32' else 1e-2)


def test_a_fast_but_wrong_pamr_is_found(run, monkeypatch):
    monkeypatch.setattr(PAMR, 'forward', lambda self, image, mask: mask)
    code, figures, output = run('pamr.py', '--window', 32, '--classes', 2)
    assert code == 2 and figures is None
    assert 'pamr.py: expected the same masks within 1e-05, but got' in output


@pytest.mark.parametrize(
    ('tool', 'options', 'message'),
    [
        ('train_step.py', ['--nouns', 5], 'expected --nouns from 1 to 4, but got 5'),
        ('train_step.py', ['--batch-size', 0], "expected an integer >= 1, but got '0'"),
        ('train_step.py', ['--dtype', 'int8'], 'invalid choice'),
        ('train_step.py', ['--cfg-options', 'model.losess.area=None'], 'losess'),
        ('pamr.py', ['--processor-time', '--threads', 2], 'expected --threads 1 and --device cpu'),
        ('predict.py', ['--device', 'nowhere'], "--device of this machine, but got 'nowhere'"),
        ('predict.py', ['--benchmarks', 'voc12'], 'invalid choice'),
        ('pamr.py', ['--config', 'none.py'], "config file, but 'none.py' does not exist"),
    ],
)
def test_mistakes_are_said(run, tool, options, message):
    code, figures, output = run(tool, *options)
    assert code == 2 and figures is None
    assert message in output
