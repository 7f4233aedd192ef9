"""Small data sets and a model of no size, for whole runs in a fraction of a second."""

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
from PIL import Image

NAMES = dict(sea=['background', 'boat'], land=['tree', 'house', 'star'])
SIDE = 8


@MODELS.register_module(force=True)
class TellTale(BaseModel):
    """Predicts the class that the first pixel's red names; keeps what it is told."""

    def __init__(self, threshold=None):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))
        self.decode_head = torch.nn.Module()
        self.background_threshold = threshold
        self.told = []

    def set_background_threshold(self, threshold):
        self.background_threshold = threshold

    def set_class_names(self, names):
        self.told.append((list(names), self.background_threshold))

    def forward(self, inputs, data_samples, mode):
        if mode == 'loss':
            return dict(loss=(self.shift - 1) ** 2)
        shift = round(self.shift.item() * 10)
        for image, sample in zip(inputs, data_samples, strict=True):
            classes = len(self.told[-1][0])
            label = (int(image.flatten()[0]) + shift) % classes
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

    def after_test_epoch(self, runner, metrics=None):
        self.calls.append('after_test_epoch')
        self.metrics.append(metrics)

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)


def benchmarks():
    """A benchmark with a background, and one without; of odd sizes."""
    sea = dict(type='Tiny', names=NAMES['sea'], count=3)
    land = dict(type='Tiny', names=NAMES['land'], count=5, seed=1)
    return dict(
        sea=dict(dataset=sea, background_threshold=0.4),
        land=dict(dataset=land, background_threshold=None, dataloader=dict(batch_size=2)),
    )


def config(work_dir, stage='test', **keys):
    """Config of a run; ``keys`` with __ for the dots replace others."""
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    loop = dict(test='MultiDatasetTestLoop', val='MultiDatasetValLoop')[stage]
    cfg = Config(
        dict(
            default_scope='mmseg',
            work_dir=str(work_dir),
            experiment_name=str(work_dir).replace('/', '_'),
            model=dict(type='TellTale'),
            visualizer=dict(type='SegLocalVisualizer'),
            default_hooks=dict(visualization=dict(type='SegVisualizationHook')),
            **{
                f'{stage}_dataloader': loader,
                f'{stage}_evaluator': dict(type='IoUMetric', iou_metrics=['mIoU']),
                f'{stage}_cfg': dict(type=loop, benchmarks=benchmarks()),
            },
        )
    )
    cfg.merge_from_dict({name.replace('__', '.'): value for name, value in keys.items()})
    return cfg


def expected_metrics(names, count, seed, shift=0):
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


@pytest.fixture
def small(tmp_path, monkeypatch):
    """``small.config(**keys)``, ``small.runner(cfg)`` -> runner and what its hooks saw."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)  # asks compilers, is slow

    class Small:
        metrics = staticmethod(expected_metrics)
        names = NAMES

        @staticmethod
        def config(stage='test', **keys):
            return config(tmp_path, stage, **keys)

        @staticmethod
        def runner(cfg):
            runner, seen = Runner.from_cfg(cfg), Seen()
            runner.register_hook(seen, priority='LOWEST')
            return runner, seen

        @staticmethod
        def image(path):
            return np.asarray(Image.open(path))

    return Small
