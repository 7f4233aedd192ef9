"""Whole runs over small data sets with a model of no size, in a fraction of a second."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from code_mm.engine.loops.multi_dataset_loop import choose_benchmarks, loader_config

SEA, LAND = ['background', 'boat'], ['tree', 'house', 'star']
SIDE = 8
LAND_DATA = 'test_cfg__benchmarks__land__dataset'


@MODELS.register_module(force=True)
class TellTale(BaseModel):
    """Predicts the class that the first pixel's red names; keeps what it is told."""

    def __init__(self, threshold=None):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))
        self.decode_head = torch.nn.Module()
        self.decode_head.name_scores = 'its own'
        self.background_threshold = threshold
        self.told = []

    def set_background_threshold(self, threshold):
        self.background_threshold = threshold

    def set_name_scores(self, name_scores):
        self.decode_head.name_scores = name_scores

    def set_class_names(self, names):
        self.told.append((list(names), self.background_threshold, self.decode_head.name_scores))

    def forward(self, inputs, data_samples, mode):
        if mode == 'loss':
            return dict(loss=(self.shift - 1) ** 2)
        shift = round(self.shift.item() * 10)
        for image, sample in zip(inputs, data_samples, strict=True):
            label = (int(image.flatten()[0]) + shift) % len(self.told[-1][0])
            data = torch.full((1, SIDE, SIDE), label)
            sample.set_data(dict(pred_sem_seg=PixelData(data=data)))
        return data_samples


@DATASETS.register_module(force=True)
class Tiny(BaseSegDataset):
    """``count`` images with random labels; the first pixel gives first label + index."""

    def __init__(self, names, count, seed=0, **kwargs):
        self.count, self.seed = count, seed
        super().__init__(metainfo=dict(classes=names), **kwargs)

    def load_data_list(self):
        return [dict(number=i) for i in range(self.count)]

    def prepare_data(self, index):
        rng = np.random.default_rng([self.seed, index])
        labels = rng.integers(0, len(self.metainfo['classes']), (1, SIDE, SIDE))
        image = torch.full((3, SIDE, SIDE), int(labels[0, 0, 0]) + index)
        sample = SegDataSample(metainfo=dict(img_path=f'{index}.png'))
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels))
        return dict(inputs=image, data_samples=sample)


class Seen(Hook):
    """What the hooks of a run are called with."""

    priority = 'LOWEST'

    def __init__(self):
        self.calls, self.metrics = [], []

    def before_test_epoch(self, runner):
        self.calls.append('before_test_epoch')

    def before_benchmark(self, runner, benchmark):
        self.calls.append(f'before {benchmark.name}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        shown = runner.visualizer.dataset_meta['classes']
        assert tuple(shown) == tuple(runner.test_dataloader.dataset.metainfo['classes'])
        self.calls.append((batch_idx, len(runner.test_dataloader)))

    def after_benchmark(self, runner, benchmark, metrics):
        self.calls.append(f'after {benchmark.name}: {sorted(metrics)}')

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)

    def after_test_epoch(self, runner, metrics=None):
        self.calls.append('after_test_epoch')
        self.metrics.append(metrics)


def config(work_dir, stage='test', **keys):
    """Two benchmarks of odd sizes, one with a background; ``keys`` with __ for the dots."""
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    sea = dict(type='Tiny', names=SEA, count=3)
    land = dict(type='Tiny', names=LAND, count=5, seed=1)
    benchmarks = dict(
        sea=dict(dataset=sea, background_threshold=0.4),
        land=dict(dataset=land, background_threshold=None, dataloader=dict(batch_size=2)),
    )
    loop = dict(test='MultiDatasetTestLoop', val='MultiDatasetValLoop')[stage]
    cfg = Config(
        {
            'default_scope': 'mmseg',
            'work_dir': str(work_dir),
            'experiment_name': str(work_dir).replace('/', '_'),
            'model': dict(type='TellTale'),
            'visualizer': dict(type='SegLocalVisualizer'),
            'default_hooks': dict(visualization=dict(type='SegVisualizationHook')),
            f'{stage}_dataloader': loader,
            f'{stage}_evaluator': dict(type='IoUMetric', iou_metrics=['mIoU']),
            f'{stage}_cfg': dict(type=loop, benchmarks=benchmarks),
        }
    )
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in keys.items()})
    return cfg


def make_runner(cfg):
    runner, seen = Runner.from_cfg(cfg), Seen()
    runner.register_hook(seen)
    return runner, seen


def counted(names, count, seed, shift=0):
    """mIoU and aAcc of TellTale, counted pixel by pixel."""
    both, either = np.zeros(len(names)), np.zeros(len(names))
    right = 0
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        truth = rng.integers(0, len(names), (SIDE, SIDE))
        found = np.full_like(truth, (truth[0, 0] + index + shift) % len(names))
        right += int((truth == found).sum())
        for label in range(len(names)):
            both[label] += ((truth == label) & (found == label)).sum()
            either[label] += ((truth == label) | (found == label)).sum()
    return dict(
        mIoU=round(100 * (both / either).mean(), 2), aAcc=round(100 * right / count / SIDE**2, 2)
    )


def test_scores_are_those_counted_by_hand_and_their_mean(tmp_path):
    """And hooks see one epoch over all batches; label maps go to a folder each."""
    runner, seen = make_runner(config(tmp_path, test_evaluator__output_dir=str(tmp_path / 'out')))
    metrics = runner.test()
    sea, land = counted(SEA, 3, seed=0), counted(LAND, 5, seed=1)
    for name, values in (('sea', sea), ('land', land)):
        for key, value in values.items():
            assert metrics[f'{name}/{key}'] == pytest.approx(value, abs=0.006)
            assert metrics[f'mean/{key}'] == pytest.approx((sea[key] + land[key]) / 2, abs=0.006)
    assert 0 < sea['mIoU'] != land['mIoU']
    assert seen.metrics == [metrics]
    assert seen.calls == [
        'before_test_epoch',
        'before sea',
        *[(i, 6) for i in range(3)],
        "after sea: ['aAcc', 'mAcc', 'mIoU']",
        'before land',
        *[(i, 6) for i in range(3, 6)],  # batches of two
        "after land: ['aAcc', 'mAcc', 'mIoU']",
        'after_test_epoch',
    ]
    files = sorted(str(p.relative_to(tmp_path / 'out')) for p in tmp_path.glob('out/*/*.png'))
    assert files == [f'land/{i}.png' for i in range(5)] + [f'sea/{i}.png' for i in range(3)]


def test_the_model_is_told_what_each_benchmark_says(tmp_path):
    (tmp_path / 'land.txt').write_text('tree|oak\nhouse\nstar\n')
    cfg = config(tmp_path, model__threshold=0.7, custom_hooks=[dict(type='ClassNamesHook')])
    cfg.test_cfg.benchmarks.sea.pop('background_threshold')
    cfg.test_cfg.benchmarks.land.class_names = str(tmp_path / 'land.txt')
    cfg.test_cfg.benchmarks.again = dict(
        dataset=dict(type='Tiny', names=['a', 'b', 'c'], count=1),
        background_threshold=0.3,
        name_scores=dict(scale=3.0),
        class_names=['background', 'tree|oak', 'star'],
    )
    cfg.test_cfg.only = ['sea', 'again', 'land']
    runner, _ = make_runner(cfg)
    names = [key.split('/')[0] for key in runner.test()]
    assert list(dict.fromkeys(names)) == ['sea', 'again', 'land', 'mean']
    assert runner.model.told == [
        (['background', 'boat'], 0.7, 'its own'),
        (['background', 'tree|oak', 'star'], 0.3, dict(scale=3.0)),
        (['tree|oak', 'house', 'star'], None, 'its own'),
    ]
    # as they were before
    assert (runner.model.background_threshold, runner.model.decode_head.name_scores) == (
        0.7,
        'its own',
    )


def train(tmp_path, **keys):
    """Metrics of the validations of a training."""
    sampler = dict(type='InfiniteSampler', shuffle=False)
    dataset = dict(type='Tiny', names=['a', 'b'], count=4)
    best = dict(type='CheckpointHook', by_epoch=False, interval=1, save_best='mean/mIoU')
    cfg = config(
        tmp_path,
        'val',
        train_dataloader=dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dataset),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
        default_hooks=dict(checkpoint=best),
        **keys,
    )
    runner, seen = make_runner(cfg)
    runner.train()
    return seen.metrics


def test_the_best_checkpoint_by_the_mean_and_resuming(tmp_path):
    """TellTale's shift moves, so its scores go up and down."""
    metrics = train(tmp_path, train_cfg__max_iters=2) + train(tmp_path, resume=True)
    means = [values['mean/mIoU'] for values in metrics]
    assert len(means) == 4
    assert len(set(means)) > 1
    best = 1 + means.index(max(means))
    (file,) = tmp_path.glob('best_*.pth')
    assert file.name == f'best_mean_mIoU_iter_{best}.pth'
    state = torch.load(file, weights_only=False)['state_dict']
    shift = round(state['shift'].item() * 10)
    expected = [counted(SEA, 3, 0, shift)['mIoU'], counted(LAND, 5, 1, shift)['mIoU']]
    assert means[best - 1] == pytest.approx(sum(expected) / 2, abs=0.006)


@pytest.mark.parametrize(
    ('keys', 'error', 'match'),
    [
        (
            dict(custom_hooks=[dict(type='ClassNamesHook', class_names=['cat', 'dog'])]),
            ValueError,
            r'no class_names in ClassNamesHook.*single benchmarks',
        ),
        (
            {LAND_DATA: dict(_delete_=True, type='CityscapesDataset', data_root='nowhere')},
            RuntimeError,
            r"benchmark 'land' in 'nowhere', but got FileNot.*only=\[",
        ),
        (
            {LAND_DATA: dict(count=0)},
            RuntimeError,
            "benchmark 'land' in .*, but got no image",
        ),
    ],
)
def test_what_cannot_be_measured_is_named_before_anything_runs(tmp_path, keys, error, match):
    runner, seen = make_runner(config(tmp_path, **keys))
    with pytest.raises(error, match=match):
        runner.test()
    assert seen.calls == []


DATASET = dict(type='ADE20KDataset')
BOTH = dict(a=dict(dataset=DATASET), b=dict(dataset=DATASET, background_threshold=0.4))


def test_choice():
    assert list(choose_benchmarks(BOTH, only=['b', 'a'])) == ['b', 'a']
    assert list(choose_benchmarks(BOTH, only='b')) == ['b']
    assert list(choose_benchmarks({**BOTH, 'a': None})) == ['b']


@pytest.mark.parametrize(
    ('benchmarks', 'only', 'match'),
    [
        ([dict(dataset=DATASET)], None, r'benchmarks as a dict, name=dict.* got list'),
        (dict(a=None), None, r"at least one benchmark, but all of \['a'\] are None"),
        (BOTH, ['c'], r"of only=\['c'\], but got 'c'; valid: \['a', 'b'\]"),
        (BOTH, ['a', 'a'], 'each benchmark once'),
        (dict(a=dict()), None, "benchmark 'a' .* the key 'dataset'"),
        (dict(mean=dict(dataset=DATASET)), None, "not 'mean', but got 'mean'"),
        (dict(a=dict(dataset=DATASET, evalutor={})), None, "did you mean 'evaluator'"),
    ],
)
def test_mistakes_are_named(benchmarks, only, match):
    with pytest.raises(ValueError, match=match):
        choose_benchmarks(benchmarks, only)


def test_own_loader_keys_stand_over_shared_ones():
    steps, dataset = [dict(type='A')], dict(type='Other', data_root='other')
    shared = dict(num_workers=4, persistent_workers=True, dataset=dict(dataset, pipeline=steps))
    found = loader_config(dict(dataset=dict(type='Mine'), dataloader=dict(num_workers=8)), shared)
    dataset = dict(type='Mine', pipeline=[dict(type='A')])
    assert found == dict(num_workers=8, persistent_workers=False, dataset=dataset)
    found['dataset']['pipeline'].clear()  # nobody else's
    assert steps == [dict(type='A')]
    own = dict(type='Mine', pipeline=[dict(type='B')])
    assert loader_config(dict(dataset=own), shared)['dataset'] == own
    assert loader_config(dict(dataset=own), dict(batch_size=2))['dataset'] == own


def run_small(folder, options):
    import code_mm  # noqa: F401

    cfg = config(folder, **options)
    cfg.launcher = 'pytorch'
    return dict(Runner.from_cfg(cfg).test())


def test_two_processes_measure_what_one_does(tmp_path, run_in_two_processes):
    """Of an uneven split, and of fewer images than processes."""
    options = dict(test_cfg__benchmarks__land__dataset__count=1)
    alone = dict(make_runner(config(tmp_path, **options))[0].test())
    first, second = run_in_two_processes(run_small, tmp_path / 'two', options)
    assert first == second == alone
