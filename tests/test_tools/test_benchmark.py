"""tools/benchmark on a tiny model: the figures, what they stand for, and mistakes."""

import copy
import json
import sys
import time
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from tiny_configs import load, shrink
from tiny_model import images, tiny_clip

from code_mm.datasets.preparation.noun_extraction import NounExtraction
from code_mm.engine.every_run import fuse_where_possible
from code_mm.models.post_processing import PAMR

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'))
import data_loading
import pamr  # noqa: F401, found by its name
import photo_like_shards
import predict  # noqa: F401, the same
import scaling
import setting
import timing
import train_step
from timing import Stopwatch

ROOT = Path(setting.__file__).resolve().parents[2]
CPU = torch.device('cpu')
WITH_NOUNS = (data_loading.TAGGING, data_loading.CACHED)
PIPELINE = [
    dict(type='LoadNouns', tagger='textblob'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage'),
    dict(type='RandomResizedCrop', size=32),
    dict(type='TokenizeCaption'),
    dict(type='PackCaptionInputs'),
]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('benchmark') / 'tiny.py'
    shrink(load('_base_/models/code_vit-b16.py')).dump(path)
    return path


@pytest.fixture
def command(monkeypatch, config):
    """``command('pamr', ...)`` leaves this command line -> options of the tool."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    monkeypatch.setattr(timing, 'clock', timing.clock)  # put back afterwards

    def set_arguments(name, *options):
        common = ['--config', config, '--rounds', 1, '--threads', 1]
        script = ROOT / 'tools' / 'benchmark' / f'{name}.py'
        monkeypatch.setattr(sys, 'argv', [str(a) for a in (script, *common, *options)])
        return sys.modules[name].make_options()

    yield set_arguments
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


@pytest.fixture
def run(command, capsys, tmp_path):
    """``run('pamr', ...)`` -> figures of --json, output; ``fails=True``: a mistake was said."""

    def run_tool(name, *options, fails=False):
        tool, file = sys.modules[name], tmp_path / 'new' / 'figures.json'
        parser = command(name, *options, '--json', file)
        with pytest.raises(SystemExit, match='2') if fails else nullcontext():
            setting.run(parser, tool.measure, tool.show)
        out = capsys.readouterr()
        assert file.is_file() != fails
        return None if fails else json.loads(file.read_text()), out.out + out.err

    return run_tool


def positive(figures, *names):
    assert all(figures[name] > 0 for name in names), figures


def test_train_step(run):
    options = ('--dtype', 'bf16', '--batch-size', 2, '--nouns', 3, '--plain-forms')
    figures, output = run('train_step', *options)
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
    assert '3 nouns per caption' in output and 'peak memory above the model' in output
    assert figures['setting']['dtype'] == 'bf16' and figures['setting']['batch_size'] == '2'
    assert figures['plain_forms'].keys() == {'conv3x3_after_upsampling'}


def test_the_timed_step_is_the_step_of_training(command):
    options = ('--processor-time', '--image-size', 64)
    step, _ = train_step.build_step(command('train_step', *options).parse_args())
    assert timing.clock is time.process_time
    assert step.model.data_preprocessor(step.data)['inputs'].shape == (4, 3, 64, 64)
    twin = copy.deepcopy(step.model)
    before = {name: p.detach().clone() for name, p in twin.named_parameters()}
    schedule = load('_base_/schedules/code_50k.py').optim_wrapper
    schedule = fuse_where_possible(schedule)
    twin_wrapper = build_optim_wrapper(twin, dict(schedule, type='OptimWrapper', _scope_='mmseg'))
    torch.manual_seed(5)
    twin.train_step(step.data, twin_wrapper)
    torch.manual_seed(5)
    step.parts()
    moved = 0
    for name, parameter in step.model.named_parameters():
        assert torch.equal(parameter, dict(twin.named_parameters())[name]), name
        moved += not torch.equal(parameter, before[name])
    assert moved > 20


def test_predict(run):
    options = ('--window', 32, '--classes', 7, '--shorter-side', 32)
    figures, _ = run('predict', *options, '--benchmarks', 'voc21', 'cityscapes')
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


@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
def test_pamr(run, dtype):
    figures, _ = run('pamr', '--window', 32, '--classes', 9, '--dtype', dtype)
    positive(figures, 'speedup', 'memory_ratio', 'pamr_u', 'plain_u', 'pamr_memory_mb')
    ratio = figures['pamr_memory_mb'] / figures['plain_memory_mb']
    assert figures['memory_ratio'] == pytest.approx(ratio) and ratio < 0.5
    assert figures['grid'] == 16  # 4 patches a side, doubled twice
    assert figures['difference'] < (1e-5 if dtype == 'fp32' else 1e-2)


def test_a_fast_but_wrong_pamr_is_found(run, monkeypatch):
    monkeypatch.setattr(PAMR, 'forward', lambda self, image, mask: mask)
    _, output = run('pamr', '--window', 32, '--classes', 2, fails=True)
    assert 'pamr.py: expected the same masks within 1e-05, but got' in output


def test_scaling(run, monkeypatch, tmp_path):
    axes = zip(scaling.AXES, [(0.5, 1), (1,), (1,), (3, 6)], strict=True)
    monkeypatch.setattr(scaling, 'AXES', dict(axes))
    figures, _ = run('scaling', '--window', 32, '--out', tmp_path / 'a' / 'plot.png')
    assert list(figures['points']['pairs per batch']) == ['2', '4']
    for values in figures['points'].values():
        for point in values.values():
            positive(point, *point)
    assert cv2.imread(str(tmp_path / 'a' / 'plot.png')).std() > 1


def test_two_checkouts_take_turns(run, monkeypatch, tmp_path):
    """The figures of a made-up checkout, whose step takes twice as long."""
    called = []

    def fake_run(command, cwd, env, **kwargs):
        called.append((cwd, [str(part) for part in command]))
        assert env['PYTHONPATH'] == str(cwd)
        slow = 1 if cwd == ROOT else 2
        figures = dict(step_u=7.0 * slow, parts_u={}, commit='x', added=1.0 if slow == 1 else 0.0)
        Path(command[-1]).write_text(json.dumps(figures))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(setting.subprocess, 'run', fake_run)
    monkeypatch.setattr(setting, 'setting_of', lambda args: {})
    figures, _ = run('train_step', '--against', tmp_path, '--turns', 3, '--nouns', 1)
    assert [cwd for cwd, _ in called] == [tmp_path, ROOT, ROOT, tmp_path, tmp_path, ROOT]
    for cwd, command in called:
        assert command[1] == str(cwd / 'tools' / 'benchmark' / 'train_step.py')
        assert command[-4:-1] == ['--nouns', '1', '--json'] and '--against' not in command
    figures.pop('setting')
    assert figures == dict(step_u=dict(before=14, now=7, ratio=0.5, ratios=[0.5] * 3))


def test_a_failing_checkout(run, tmp_path):
    script = tmp_path / 'tools' / 'benchmark' / 'pamr.py'
    script.parent.mkdir(parents=True)
    script.write_text('raise SystemExit("no such thing")')
    _, output = run('pamr', '--against', tmp_path, fails=True)
    assert f'{script} failed: no such thing' in output


@pytest.mark.parametrize(
    ('tool', 'options', 'message'),
    [
        ('train_step', ['--nouns', 5], 'expected --nouns from 1 to 4, but got 5'),
        ('train_step', ['--batch-size', 0], "expected an integer >= 1, but got '0'"),
        ('train_step', ['--cfg-options', 'model.losess.area=None'], 'losess'),
        ('pamr', ['--processor-time', '--threads', 2], 'expected --threads 1 and --device cpu'),
        ('predict', ['--device', 'nowhere'], "--device of this machine, but got 'nowhere'"),
        ('pamr', ['--config', 'none.py'], "config file, but 'none.py' does not exist"),
    ],
)
def test_mistakes_are_said(run, tool, options, message):
    _, output = run(tool, *options, fails=True)
    assert message in output


def test_the_unit_is_the_image_tower():
    visual, image = tiny_clip().visual, images(2, 24, 48)
    expected = visual.encode(image)
    torch.testing.assert_close(timing.unit_of(visual, image, torch.float32)(), expected)
    half = timing.unit_of(visual, image, torch.bfloat16)()
    assert half.dtype == torch.bfloat16 and visual.proj.dtype == torch.float32
    torch.testing.assert_close(half.float(), expected, atol=0.2, rtol=0.1)


def test_turns():
    done = []
    works = {name: partial(done.append, name) for name in ('U', 'a', 'b')}
    seconds = timing.time_in_turns(works, rounds=2, warmup=1)
    assert ''.join(done) == 'UabUabUabU'
    assert {name: len(times) for name, times in seconds.items()} == dict(U=3, a=2, b=2)


def test_a_slow_spell_of_the_machine_leaves_figures_alone():
    assert timing.in_units(dict(U=[1.0, 1.0, 3.0, 3.0], a=[2.0, 4.0, 6.0])) == dict(a=2.0)
    rounds = [dict(a=1.0, b=3.0), dict(a=20.0, b=20.0), dict(b=2.0)]
    assert timing.parts_in_units(rounds, 8) == dict(a=2.0, b=6.0)  # medians of shares


def test_peak_memory_is_that_of_tensors_held_at_once():
    before = torch.ones(1000)

    def work():
        first = torch.empty(3000)
        second = torch.empty(2000)
        del first
        third = torch.empty(500) + before[:500]
        return second, third

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

    x, watch, plain = torch.ones(2, requires_grad=True), Stopwatch(CPU), Value.slow
    inner = SimpleNamespace(first=lambda x: Slow.apply(x, 10))
    model = SimpleNamespace(inner=inner, second=second)
    methods = {'inner.first': 'one', 'second': 'two'}
    with watch.watching((model, methods), (Value, {'slow': 'value'})):
        loss = Slow.apply(model.second(), 40).sum()
        watch.watch_backward(loss)
        loss.backward()
        passed.now += 5
    phases = dict(forward={}, backward={})
    for (part, phase), seconds in watch.seconds().items():
        phases[phase][part] = seconds
    assert phases['forward'] == {'one': 1, 'value': 1, 'two': 2, Stopwatch.REST: 1}
    assert model.second is second and Value.slow is plain
    # what follows the last node still counts for its part
    assert phases['backward'] == {'one': 10, 'value': 7, 'two': 20 + 30 + 5, Stopwatch.REST: 40}


@pytest.fixture
def loading(monkeypatch, tmp_path):
    """``loading(...)`` runs data_loading.py on a small pipeline -> figures."""
    threads = torch.get_num_threads(), cv2.getNumThreads()

    def run_tool(*options, pipeline=PIPELINE):
        text = f'train_dataloader = dict(dataset=dict(datasets=[dict(pipeline={pipeline!r})]))'
        (tmp_path / 'data.py').write_text(text)
        figures = tmp_path / 'rates.json'
        argv = ['x', '--config', tmp_path / 'data.py', '--repeats', 1, '--json', figures, *options]
        monkeypatch.setattr(sys, 'argv', [str(a) for a in argv])
        data_loading.main()
        return json.loads(figures.read_text())

    yield run_tool
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


@pytest.mark.parametrize('workers', [0, 2])
def test_data_loading(loading, workers):
    figures = loading('--samples', 12, '--workers', workers)
    assert figures['samples'] == 12 and figures['tagger'] == 'textblob'
    ways = [data_loading.DECODING, *WITH_NOUNS, data_loading.STREAM]
    assert list(figures['samples_per_second']) == ways
    positive(figures['samples_per_second'], *ways)
    for name in WITH_NOUNS:
        stages = figures['stage_milliseconds'][name]
        assert list(stages) == ['reading', *(step['type'] for step in PIPELINE)]
        positive(stages, *stages)


def test_all_variants_load_the_same_samples(tmp_path):
    path = photo_like_shards.write_photo_like_shards(tmp_path, 12)
    NounExtraction(str(tmp_path), 'textblob').tag_shard(path)
    datasets, indices = data_loading.make_datasets([path], PIPELINE, str(tmp_path), 8)
    assert len(indices) == 8 == len(datasets[data_loading.DECODING])
    caches = [datasets[name].dataset.pipeline.transforms[0].cache for name in WITH_NOUNS]
    before = caches[1].counts()['found']
    for i in range(8):
        samples = []
        for name in WITH_NOUNS:
            np.random.seed(0)
            samples.append(datasets[name][i])
        assert torch.equal(samples[0]['inputs'], samples[1]['inputs'])
        fields = [(s['data_samples'].sample_key, s['data_samples'].nouns) for s in samples]
        assert fields[0] == fields[1]
        alone = datasets[data_loading.DECODING][i]
        assert alone['ori_shape'] == samples[0]['data_samples'].ori_shape
        assert alone['img'].shape == (32, 32, 3)
    assert caches[0] is None and caches[1].counts()['found'] == before + 8


def test_mistakes_in_loading(loading):
    with pytest.raises(ValueError, match='LoadNouns, LoadCaptionImage and a crop, but got'):
        loading(pipeline=[dict(type='LoadCaptionImage')])
    first, _, *rest = PIPELINE
    with pytest.raises(ValueError, match=r"usable pairs, but got {'few_nouns': 12}"):
        many = dict(type='SelectNouns', num_nouns=50)
        loading('--samples', 12, pipeline=[first, many, *rest])
    with pytest.raises(SystemExit, match='expected 4 usable pairs for each worker, but got 2'):
        loading('--samples', 2)
