"""Whole runs over small data sets, with a model of no size; all eight: test_all_benchmarks.py."""

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
    """Finds class 0 everywhere, class 1 after every odd step of training; keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))
        self.decode_head = torch.nn.Module()
        self.decode_head.name_scores = 'its own'
        self.background_threshold = 0.7
        self.told = []

    def set_background_threshold(self, threshold):
        self.background_threshold = threshold

    def set_name_scores(self, name_scores):
        self.decode_head.name_scores = name_scores

    def set_class_names(self, names):
        self.told.append((list(names), self.background_threshold, self.decode_head.name_scores))

    def forward(self, inputs, data_samples, mode):
        if mode == 'loss':
            return dict(loss=self.shift)
        for sample in data_samples:
            label = torch.full((1, SIDE, SIDE), round(-self.shift.item()) % 2)
            sample.set_data(dict(pred_sem_seg=PixelData(data=label)))
        return data_samples


@DATASETS.register_module(force=True)
class Tiny(BaseSegDataset):
    """``count`` images: ``columns`` of eight show class 0, the others class 1."""

    def __init__(self, names, count, columns=4, **kwargs):
        self.count, self.columns = count, columns
        super().__init__(metainfo=dict(classes=names), **kwargs)

    def load_data_list(self):
        return [dict(number=i) for i in range(self.count)]

    def prepare_data(self, index):
        labels = torch.ones(1, SIDE, SIDE, dtype=torch.long)
        labels[..., : self.columns] = 0
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        return dict(inputs=torch.zeros(3, SIDE, SIDE), data_samples=sample)


class Seen(Hook):
    """What the hooks of a run are called with."""

    priority = 'LOWEST'

    def __init__(self):
        self.calls = []

    def before_benchmark(self, runner, benchmark):
        self.calls.append(f'before {benchmark.name}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        shown = runner.visualizer.dataset_meta['classes']
        assert tuple(shown) == tuple(runner.test_dataloader.dataset.metainfo['classes'])
        self.calls.append((batch_idx, len(runner.test_dataloader)))

    def after_benchmark(self, runner, benchmark, metrics):
        self.calls.append(f'after {benchmark.name}: {sorted(metrics)}')

    def after_test_epoch(self, runner, metrics=None):
        self.calls.append(metrics)


def make_runner(work_dir, stage='test', **keys):
    """Two benchmarks; ``keys`` with __ for the dots."""
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    sea = dict(type='Tiny', names=SEA, count=3, columns=6)
    land = dict(type='Tiny', names=LAND, count=5, columns=5)
    benchmarks = dict(sea=dict(dataset=sea), land=dict(dataset=land, dataloader=dict(batch_size=2)))
    loop = dict(test='MultiDatasetTestLoop', val='MultiDatasetValLoop')[stage]
    cfg = Config(
        {
            'default_scope': 'mmseg',
            'work_dir': str(work_dir),
            'experiment_name': str(work_dir).replace('/', '_'),
            'model': dict(type='TellTale'),
            'custom_hooks': [dict(type='ClassNamesHook')],
            f'{stage}_dataloader': loader,
            f'{stage}_evaluator': dict(type='IoUMetric', iou_metrics=['mIoU']),
            f'{stage}_cfg': dict(type=loop, benchmarks=benchmarks),
        }
    )
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in keys.items()})
    runner, seen = Runner.from_cfg(cfg), Seen()
    runner.register_hook(seen)
    return runner, seen


def test_scores_hooks_and_what_the_model_is_told(tmp_path):
    (tmp_path / 'land.txt').write_text('tree|oak\nhouse\nstar\n')
    again = dict(
        dataset=dict(type='Tiny', names=['a', 'b', 'c'], count=1),
        background_threshold=0.3,
        name_scores=dict(scale=3.0),
        class_names=['background', 'tree|oak', 'star'],
    )
    keys = dict(class_names=str(tmp_path / 'land.txt'), background_threshold=None)
    runner, seen = make_runner(
        tmp_path,
        test_cfg__benchmarks=dict(again=again, land=keys, absent=None),
        test_cfg__only=['sea', 'again', 'land'],
    )
    metrics = runner.test()
    assert runner.model.told == [
        (SEA, 0.7, 'its own'),
        (['background', 'tree|oak', 'star'], 0.3, dict(scale=3.0)),
        (['tree|oak', 'house', 'star'], None, 'its own'),
    ]
    model = runner.model  # as it was before
    assert (model.background_threshold, model.decode_head.name_scores) == (0.7, 'its own')
    # of two classes one is found; 6, 4 and 5 columns of 8 are right
    expected = dict(sea=(75.0, 37.5), again=(50.0, 25.0), land=(62.5, 31.25), mean=(62.5, 31.25))
    for name, values in expected.items():
        assert (metrics[f'{name}/aAcc'], metrics[f'{name}/mIoU']) == values
    names = "['aAcc', 'mAcc', 'mIoU']"
    assert seen.calls == [
        *['before sea', (0, 7), (1, 7), (2, 7), f'after sea: {names}'],
        *['before again', (3, 7), f'after again: {names}'],
        *['before land', (4, 7), (5, 7), (6, 7), f'after land: {names}'],  # batches of two
        metrics,
    ]


def test_the_best_checkpoint_by_the_mean(tmp_path):
    dataset = dict(type='Tiny', names=['a', 'b'], count=4)
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='InfiniteSampler'))
    best = dict(type='CheckpointHook', by_epoch=False, interval=1, save_best='mean/mIoU')
    runner, _ = make_runner(
        tmp_path,
        'val',
        train_dataloader=dict(loader, dataset=dataset),
        train_cfg=dict(type='IterBasedTrainLoop', val_interval=1, max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        default_hooks=dict(checkpoint=best),
    )
    runner.train()
    # after the first and the third iteration class 1 is found, of fewer pixels
    assert [file.name for file in tmp_path.glob('best_*.pth')] == ['best_mean_mIoU_iter_2.pth']


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
        ({LAND_DATA: dict(count=0)}, RuntimeError, "benchmark 'land' in .*, but got no image"),
    ],
)
def test_what_cannot_be_measured_is_named_before_anything_runs(tmp_path, keys, error, match):
    runner, seen = make_runner(tmp_path, **keys)
    with pytest.raises(error, match=match):
        runner.test()
    assert seen.calls == []


DATASET = dict(type='ADE20KDataset')
BOTH = dict(a=dict(dataset=DATASET), b=dict(dataset=DATASET, background_threshold=0.4))


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
    assert list(choose_benchmarks(BOTH, only='b')) == ['b']
    with pytest.raises(ValueError, match=match):
        choose_benchmarks(benchmarks, only)


def test_own_loader_keys_stand_over_shared_ones():
    steps, own = [dict(type='A')], dict(type='Mine', pipeline=[dict(type='B')])
    shared = dict(num_workers=4, persistent_workers=True, dataset=dict(type='C', pipeline=steps))
    found = loader_config(dict(dataset=dict(type='Mine'), dataloader=dict(num_workers=8)), shared)
    dataset = dict(type='Mine', pipeline=steps)
    assert found == dict(num_workers=8, persistent_workers=False, dataset=dataset)
    assert loader_config(dict(dataset=own), shared)['dataset'] == own
