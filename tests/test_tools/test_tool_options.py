"""What tools/train.py and tools/test.py make of their options, without running a model."""

import importlib
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """``tool('train')``: the module tools/train.py, imported as it would be when it is run."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.setenv('LOCAL_RANK', '0')  # what load_config sets is undone afterwards
    monkeypatch.chdir(tmp_path)

    def load(name):
        spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop('runner_options', None)


def test_what_becomes_of_the_config(tool, monkeypatch):
    train = tool('train')

    def load(text, *options):
        Path('a.py').write_text(text)
        monkeypatch.setattr(sys, 'argv', ['train.py', 'a.py', *options])
        return train.load_config(train.parse_args())

    assert load('a = 1').work_dir == 'work_dirs/a'
    assert load('work_dir = "b"').work_dir == 'b'
    assert load('work_dir = "b"', '--work-dir', 'c').work_dir == 'c'
    text = 'train_cfg = dict(max_iters=3)'
    cfg = load(text, '--cfg-options', 'train_cfg.max_iters=4')
    assert cfg.train_cfg.max_iters == 4 and cfg.launcher == 'none'
    with pytest.raises(ValueError, match="did you mean 'train_cfg'"):
        load(text, '--cfg-options', 'trian_cfg.max_iters=4')
    Path('a.py').unlink()
    with pytest.raises(FileNotFoundError, match=r"'a\.py' does not exist"):
        train.load_config(train.parse_args())
    with pytest.raises(ValueError, match='expected a model'):
        tool('runner_options').build_runner(Config({'launcher': 'none'}))


def test_mixed_precision(tool, monkeypatch):
    train = tool('train')
    cfg = Config({'optim_wrapper': {'type': 'OptimWrapper'}})
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='--amp: expected a GPU'):
        train.use_mixed_precision(cfg)
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cuda')
    train.use_mixed_precision(cfg)
    assert cfg.optim_wrapper == {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
    with pytest.raises(ValueError, match='got ApexOptimWrapper'):
        train.use_mixed_precision(Config({'optim_wrapper': {'type': 'ApexOptimWrapper'}}))


def test_weights_come_from_line_config_or_model(tool):
    test = tool('test')
    pretrained = {'init_cfg': {'type': 'Pretrained', 'checkpoint': 'clip.pth'}}
    cfg = Config({'model': {}, 'resume': True, 'load_from': 'b.pth'})
    test.choose_weights(cfg, None)
    assert (cfg.load_from, cfg.resume) == ('b.pth', False)
    test.choose_weights(cfg, 'a.pth')
    assert cfg.load_from == 'a.pth'
    for nothing in (None, 'none'):
        cfg = Config({'model': pretrained})
        test.choose_weights(cfg, nothing)
        assert 'load_from' not in cfg
    with pytest.raises(ValueError, match='expected a checkpoint, but got none'):
        test.choose_weights(Config({'model': {'init_cfg': None}}), None)


def test_predictions_are_drawn_by_the_hook(tool):
    test = tool('test')
    hooks = {'visualization': {'type': 'SegVisualizationHook'}}
    cfg = Config({'default_hooks': hooks, 'visualizer': {}})
    options = Config({'show': True, 'show_dir': 'd', 'wait_time': 3})
    test.draw_predictions(cfg, options)
    drawn = {'draw': True, 'show': True, 'wait_time': 3}
    assert cfg.default_hooks.visualization == {'type': 'SegVisualizationHook', **drawn}
    assert cfg.visualizer.save_dir == 'd'
    with pytest.raises(ValueError, match='expected a visualization hook'):
        test.draw_predictions(Config({'default_hooks': {}}), options)


def test_predictions_are_saved_by_the_iou_metric(tool):
    test = tool('test')
    for evaluator in ({'type': 'IoUMetric'}, [{'type': 'Other'}, {'type': 'mmseg.IoUMetric'}]):
        cfg = Config({'test_evaluator': evaluator})
        test.save_predictions(cfg, 'out')
        metric = cfg.test_evaluator if isinstance(evaluator, dict) else cfg.test_evaluator[1]
        assert (metric.output_dir, metric.keep_results) == ('out', True)
    with pytest.raises(ValueError, match=r"expected an IoUMetric.*got \['Other'\]"):
        test.save_predictions(Config({'test_evaluator': [{'type': 'Other'}]}), 'out')


def test_augmentation_wraps_model_and_pipeline(tool):
    test = tool('test')
    cfg = Config(
        {
            'model': {'type': 'A'},
            'test_dataloader': {'dataset': {'pipeline': []}},
            'tta_pipeline': [{'type': 'T'}],
            'tta_model': {'type': 'SegTTAModel'},
        }
    )
    test.use_augmentation(cfg)
    assert cfg.model == {'type': 'SegTTAModel', 'module': {'type': 'A'}}
    assert cfg.test_dataloader.dataset.pipeline == [{'type': 'T'}]
    with pytest.raises(ValueError, match='expected tta_model and tta_pipeline'):
        test.use_augmentation(Config({'model': {}}))


def test_benchmarks_with_parts_of_their_own_are_augmented_and_written_too(tool):
    module = tool('test')
    own = [dict(type='LoadAnnotations', reduce_zero_label=True), dict(type='PackSegInputs')]
    tta = [dict(type='TestTimeAug', transforms=[[dict(type='LoadAnnotations')]])]
    benchmarks = dict(
        a=dict(dataset=dict(type='D')),
        b=dict(dataset=dict(pipeline=own), evaluator=dict(type='IoUMetric')),
        c=None,
    )
    cfg = Config(
        dict(
            model=dict(type='M'),
            test_dataloader=dict(dataset=dict(pipeline=own)),
            test_evaluator=[dict(type='IoUMetric')],
            test_cfg=dict(benchmarks=benchmarks),
            tta_model=dict(type='SegTTAModel'),
            tta_pipeline=tta,
        )
    )
    module.use_augmentation(cfg)
    module.save_predictions(cfg, 'out')
    augmented = [dict(type='TestTimeAug', transforms=[[own[0]]])]
    assert cfg.test_dataloader.dataset.pipeline == tta
    assert cfg.test_cfg.benchmarks.b.dataset.pipeline == augmented
    assert 'pipeline' not in cfg.test_cfg.benchmarks.a.dataset
    assert cfg.test_evaluator[0].output_dir == 'out'
    assert cfg.test_cfg.benchmarks.b.evaluator.output_dir == 'out/b'
