"""tools/benchmark on a tiny model: the figures, what they stand for, and mistakes."""

import copy
import json
import time
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import data_loading
import numpy as np
import photo_like_shards
import pytest
import setting
import timing
import torch
import train_step
from mmengine.optim import build_optim_wrapper
from tiny_configs import load, shrink
from tiny_model import images, tiny_clip

from code_mm.datasets.preparation.noun_extraction import NounExtraction
from code_mm.engine.every_run import fuse_where_possible
from code_mm.models.post_processing import PAMR

ROOT = Path(setting.__file__).resolve().parents[2]
CPU = torch.device('cpu')
WITH_NOUNS = (data_loading.TAGGING, data_loading.CACHED)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path, cfg = tmp_path_factory.mktemp('benchmark') / 'tiny.py', shrink(load('code_cc12m.py'))
    cfg.train_dataloader.dataset.pipeline[0].tagger = 'textblob'
    cfg.dump(path)
    return str(path)


@pytest.fixture
def measure(config, run, monkeypatch, tmp_path):
    """``measure('pamr', ...)`` -> the figures of --json, None after a mistake; what was said."""
    threads, state = (torch.get_num_threads(), cv2.getNumThreads()), torch.get_rng_state()
    monkeypatch.setattr(timing, 'clock', timing.clock)  # put back afterwards, as all of these

    def run_tool(name, *options, status=0):
        file = tmp_path / 'figures.json'
        file.unlink(missing_ok=True)
        rounds = ['--repeats', 1] if name == 'data_loading' else ['--rounds', 1, '--threads', 1]
        words = ['--config', config, *rounds, '--json', file, *options]
        said = run(name, *words, status=status)
        return json.loads(file.read_text()) if file.is_file() else None, said

    yield run_tool
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])
    torch.set_rng_state(state)


def positive(figures, *names):
    assert all(figures[name] > 0 for name in names or figures), figures


def test_train_step(measure):
    options = ('--dtype', 'bf16', '--batch-size', 2, '--nouns', 3, '--plain-forms')
    figures, said = measure('train_step', *options)
    positive(figures, 'step_u', 'step_memory_mb', 'step_seconds', 'unit_seconds')
    assert figures['step_memory_mb'] > figures['optimiser_state_mb'] > 0
    parts = figures['parts_u']
    losses = {name.split(',')[0] for name in parts if name.startswith('loss ')}
    assert len(losses) == 9
    for part in ('decoder', 'masks', 'highlighted images', 'text: highlighted', *losses):
        positive(parts, f'{part}, forward', f'{part}, backward')
    # frozen, and without gradient to anything learnable
    for part in ('trunk (11 frozen blocks)', 'text: guides'):
        assert parts[f'{part}, forward'] > 0 and f'{part}, backward' not in parts
    assert sum(parts.values()) == pytest.approx(figures['step_u'])
    assert '3 nouns per caption' in said and 'peak memory above the model' in said
    assert figures['setting']['dtype'] == 'bf16' and figures['setting']['batch_size'] == '2'
    assert figures['plain_forms'].keys() == {'conv3x3_after_upsampling'}


@pytest.mark.usefixtures('measure')
def test_the_timed_step_is_the_step_of_training(config):
    words = [f'--config={config}', '--threads=1', '--processor-time', '--image-size=64']
    step, _ = train_step.build_step(train_step.make_options().parse_args(words))
    assert timing.clock is time.process_time
    assert step.model.data_preprocessor(step.data)['inputs'].shape == (4, 3, 64, 64)
    twin, before = copy.deepcopy(step.model), copy.deepcopy(step.model.state_dict())
    schedule = fuse_where_possible(load('_base_/schedules/code_50k.py').optim_wrapper)
    wrapper = build_optim_wrapper(twin, dict(schedule, type='OptimWrapper', _scope_='mmseg'))
    torch.manual_seed(5)
    twin.train_step(step.data, wrapper)
    torch.manual_seed(5)
    step.parts()
    found, expected = step.model.state_dict(), twin.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert sum(not torch.equal(found[name], before[name]) for name in found) > 20


def test_predict(measure):
    options = ('--window', 32, '--classes', 7, '--shorter-side', 32)
    figures, _ = measure('predict', *options, '--benchmarks', 'voc21', 'cityscapes')
    positive(figures, 'window_u', 'window_pamr_u', 'window_no_mix_u', 'window_no_mix_pamr_u')
    positive(figures, 'window_memory_mb', 'window_pamr_memory_mb', 'window_no_mix_memory_mb')
    assert {'PAMR', 'mix', 'frozen branch', 'decoder'} <= figures['parts_u'].keys()
    positive(figures['parts_u'])
    voc, city = (figures['benchmarks'][name] for name in ('voc21', 'cityscapes'))
    assert min(row.pop('images_per_second') for row in (voc, city)) > 0
    assert voc == dict(classes=21, height=32, width=43)  # of 500 x 375
    assert city == dict(classes=19, height=32, width=64)


def test_pamr(measure, monkeypatch):
    for dtype, tolerance in (('fp32', 1e-5), ('bf16', 1e-2)):
        figures, _ = measure('pamr', '--window', 32, '--classes', 9, '--dtype', dtype)
        positive(figures, 'speedup', 'memory_ratio', 'pamr_u', 'plain_u', 'pamr_memory_mb')
        ratio = figures['pamr_memory_mb'] / figures['plain_memory_mb']
        assert figures['memory_ratio'] == pytest.approx(ratio) and ratio < 0.5
        assert figures['grid'] == 16  # 4 patches a side, doubled twice
        assert figures['difference'] < tolerance
    monkeypatch.setattr(PAMR, 'forward', lambda self, image, mask: mask)  # fast, but wrong
    figures, said = measure('pamr', '--window', 32, '--classes', 2, status=2)
    assert figures is None and 'pamr.py: expected the same masks within 1e-05, but got' in said


def test_scaling(measure, tmp_path):
    figures, _ = measure('scaling', '--window', 32, '--out', tmp_path / 'a' / 'plot.png')
    assert list(figures['points']['pairs per batch']) == ['1', '2', '4', '8']
    for values in figures['points'].values():
        for point in values.values():
            positive(point)
    assert cv2.imread(str(tmp_path / 'a' / 'plot.png')).std() > 1


def test_two_checkouts_take_turns(measure, monkeypatch, tmp_path):
    """The figures of a made-up checkout, whose step takes twice as long."""
    script = tmp_path / 'tools' / 'benchmark' / 'pamr.py'
    script.parent.mkdir(parents=True)
    script.write_text('raise SystemExit("no such thing")')
    figures, said = measure('pamr', '--against', tmp_path, status=2)
    assert figures is None and f'{script} failed: no such thing' in said
    called = []

    def fake_run(command, cwd, env, **kwargs):
        called.append(cwd)
        assert env['PYTHONPATH'] == str(cwd) and '--against' not in command
        assert command[1] == cwd / 'tools' / 'benchmark' / 'train_step.py'
        assert command[-4:-1] == ['--nouns', '1', '--json']
        slow = 1 if cwd == ROOT else 2
        figures = dict(step_u=7.0 * slow, parts_u={}, commit='x', added=1.0 if slow == 1 else 0.0)
        Path(command[-1]).write_text(json.dumps(figures))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(setting.subprocess, 'run', fake_run)
    monkeypatch.setattr(setting, 'setting_of', lambda args: {})
    figures, _ = measure('train_step', '--against', tmp_path, '--turns', 3, '--nouns', 1)
    assert called == [tmp_path, ROOT, ROOT, tmp_path, tmp_path, ROOT]
    step = dict(before=14, now=7, ratio=0.5, ratios=[0.5] * 3)
    assert figures == dict(step_u=step, setting={})


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('train_step', ['--nouns', 5], 'expected --nouns from 1 to 4, but got 5'),
        ('train_step', ['--batch-size', 0], "expected an integer >= 1, but got '0'"),
        ('train_step', ['--cfg-options', 'model.losess.area=None'], 'losess'),
        ('pamr', ['--processor-time', '--threads', 2], 'expected --threads 1 and --device cpu'),
        ('predict', ['--device', 'nowhere'], "--device of this machine, but got 'nowhere'"),
        ('pamr', ['--config', 'none.py'], "config file, but 'none.py' does not exist"),
        ('data_loading', ['--samples', 2], 'expected 4 usable pairs for each worker, but got 2'),
    ],
)
def test_mistakes_are_said(measure, name, options, message):
    figures, said = measure(name, *options, status=1 if name == 'data_loading' else 2)
    assert figures is None and message in said


def test_the_unit_is_the_image_tower():
    visual, image = tiny_clip().visual, images(2, 24, 48)
    expected = visual.encode(image)
    torch.testing.assert_close(timing.unit_of(visual, image, torch.float32)(), expected)
    half = timing.unit_of(visual, image, torch.bfloat16)()
    assert half.dtype == torch.bfloat16 and visual.proj.dtype == torch.float32
    torch.testing.assert_close(half.float(), expected, atol=0.2, rtol=0.1)


def test_a_slow_spell_of_the_machine_leaves_figures_alone():
    done = []
    works = {name: partial(done.append, name) for name in ('U', 'a', 'b')}
    seconds = timing.time_in_turns(works, rounds=2, warmup=1)
    assert ''.join(done) == 'UabUabUabU'
    assert {name: len(times) for name, times in seconds.items()} == dict(U=3, a=2, b=2)
    assert timing.in_units(dict(U=[1.0, 1.0, 3.0, 3.0], a=[2.0, 4.0, 6.0])) == dict(a=2.0)
    rounds = [dict(a=1.0, b=3.0), dict(a=20.0, b=20.0), dict(b=2.0)]
    assert timing.parts_in_units(rounds, 8) == dict(a=2.0, b=6.0)  # medians of shares


def test_peak_memory_is_that_of_tensors_held_at_once():
    before = torch.ones(1000)

    def work():
        first = torch.empty(3000)
        second = torch.empty(2000)
        del first
        return second, torch.empty(500) + before[:500]

    assert timing.peak_memory(work, CPU) == 4 * 5000
    assert timing.peak_memory(lambda: before.mul_(2), CPU) < 100


def test_time_goes_to_the_innermost_part_forward_and_backward(monkeypatch):
    passed = SimpleNamespace(now=0)
    monkeypatch.setattr(timing, 'clock', lambda: passed.now)

    class Slow(torch.autograd.Function):
        """Identity that takes 1 forward and ``cost`` backward."""

        @staticmethod
        def forward(ctx, x, cost):
            ctx.cost = cost
            passed.now += 1
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            passed.now += ctx.cost
            return grad, None

    class Value:
        @cached_property
        def slow(self):
            return Slow.apply(x, 7)

    def second():
        value, first = Value(), model.inner.first(Slow.apply(x, 20))
        return Slow.apply(first + value.slow + value.slow, 30)

    x, watch, plain = torch.ones(2, requires_grad=True), timing.Stopwatch(CPU), Value.slow
    inner = SimpleNamespace(first=lambda x: Slow.apply(x, 10))
    model = SimpleNamespace(inner=inner, second=second)
    methods = {'inner.first': 'one', 'second': 'two'}
    with watch.watching((model, methods), (Value, {'slow': 'value'})):
        loss = Slow.apply(model.second(), 40).sum()
        watch.watch_backward(loss)
        loss.backward()
        passed.now += 5  # what follows the last node still counts for its part
    seconds, phases = watch.seconds(), ('forward', 'backward')
    found = {part: [seconds[part, phase] for phase in phases] for part, _ in seconds}
    assert found == dict(one=[1, 10], value=[1, 7], two=[2, 20 + 30 + 5], rest=[1, 40])
    assert model.second is second and Value.slow is plain


@pytest.mark.parametrize('workers', [0, 2])
def test_data_loading(measure, config, workers):
    figures, _ = measure('data_loading', '--samples', 12, '--workers', workers)
    assert figures['samples'] == 12 and figures['tagger'] == 'textblob'
    ways = [data_loading.DECODING, *WITH_NOUNS, data_loading.STREAM]
    assert list(figures['samples_per_second']) == ways
    positive(figures['samples_per_second'])
    steps = data_loading.training_pipeline(config)
    for name in WITH_NOUNS:
        stages = figures['stage_milliseconds'][name]
        assert list(stages) == ['reading', *(step['type'] for step in steps)]
        positive(stages)


def test_the_same_samples_are_loaded_in_every_way(config, tmp_path):
    path = photo_like_shards.write_photo_like_shards(tmp_path, 12)
    NounExtraction(str(tmp_path), 'textblob').tag_shard(path)
    pipeline = data_loading.training_pipeline(config)
    datasets, indices = data_loading.make_datasets([path], pipeline, str(tmp_path), 8)
    assert len(indices) == 8 == len(datasets[data_loading.DECODING])
    tagging, cached = (datasets[name].dataset.pipeline.transforms[0].cache for name in WITH_NOUNS)
    before = cached.counts()['found']
    for i in range(8):
        samples = []
        for name in WITH_NOUNS:
            np.random.seed(0)
            samples.append(datasets[name][i])
        assert torch.equal(samples[0]['inputs'], samples[1]['inputs'])
        one, other = (sample['data_samples'] for sample in samples)
        assert (one.sample_key, one.nouns) == (other.sample_key, other.nouns)
        assert datasets[data_loading.DECODING][i]['ori_shape'] == one.ori_shape
    assert tagging is None and cached.counts()['found'] == before + 8
    few = [pipeline[0], dict(pipeline[1], num_nouns=50), *pipeline[2:]]
    messages = ('LoadNouns, LoadCaptionImage and a crop', "usable pairs, but got {'few_nouns': 12}")
    for wrong, message in zip((pipeline[1:], few), messages, strict=True):
        with pytest.raises(ValueError, match=message):
            data_loading.make_datasets([path], wrong, str(tmp_path), 8)
