"""Random states that follow from the iteration, so that a resumed run is exact."""

import logging
import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch.utils.data import BatchSampler, DataLoader, get_worker_info

from code_mm.datasets.captions import CaptionStreamDataset
from code_mm.registry import HOOKS

# Streams of one iteration: its data and its model must not draw the same numbers.
_DATA, _MODEL = 0, 1


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Make an interrupted and resumed training equal to an uninterrupted one.

    Every iteration *derives* its random states (torch on CPU and accelerators, numpy, python)
    from (seed of the run, rank, iteration): before the forward pass, and before each batch that is
    loaded in this process or by a worker. So nothing has to be stored, any checkpoint can be
    resumed, ranks draw different numbers, and validation leaves no trace in training.

    Exact with ``InfiniteSampler`` (mmseg's standard) and any ``num_workers``, and with any
    sampler at ``num_workers=0``. A finite sampler with workers is left as it is: MMEngine replays
    it by loading from the start, which is exact too, for datasets that draw from ``np.random`` or
    ``random`` only. A ``CaptionStreamDataset`` goes on at the next shards
    (``StreamPositionHook``), so it is not exact. The order of the samples follows from a fixed
    ``randomness=dict(seed=...)``; ``train_cfg.fast_forward_on_resume`` gives up exactness.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner) -> None:
        """Have loader workers seed themselves; warn where a resume cannot be exact."""
        loader = runner.train_dataloader
        stream = isinstance(loader.dataset, CaptionStreamDataset)
        if loader.num_workers > 0 and (stream or _skips_without_loading(loader)):
            _WorkerSeeds(loader, _derived_seed(runner.seed, _DATA), runner.iter)
        if runner.iter > 0 and (runner.cfg.get('randomness') or {}).get('seed') is None:
            print_log(
                'Resuming without a fixed seed: the order of the samples differs from the '
                'interrupted run. Set randomness=dict(seed=...) for an exact resume.',
                logger='current',
                level=logging.WARNING,
            )

    def before_train_epoch(self, runner) -> None:
        """Seed the first batch."""
        self._seed_data(runner, runner.iter)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed the forward pass of this iteration."""
        _seed_all(_derived_seed(runner.seed, _MODEL, get_rank(), runner.iter))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Seed the next batch."""
        self._seed_data(runner, runner.iter + 1)

    def after_val(self, runner) -> None:
        """Seed the next batch again, as validation may have drawn numbers."""
        self._seed_data(runner, runner.iter)

    def _seed_data(self, runner, iteration: int) -> None:
        if runner.train_dataloader.num_workers == 0:
            _seed_all(_derived_seed(_derived_seed(runner.seed, _DATA), get_rank(), iteration))


def _derived_seed(*numbers: int) -> int:
    """Mix non-negative numbers (seed, rank, iteration …) into one well spread 32-bit seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)  # also accelerators
    np.random.seed(seed)
    random.seed(seed)


def _skips_without_loading(loader: DataLoader) -> bool:
    """Whether MMEngine's loop resumes by moving the sampler forward, not by loading again."""
    if hasattr(loader.sampler, 'skip') and loader.batch_size is not None:
        return True
    batch_sampler = loader.batch_sampler
    return type(batch_sampler) is BatchSampler and hasattr(batch_sampler.sampler, 'skip')


class _WorkerSeeds:
    """Has the workers of a loader seed themselves for every batch, by its number.

    MMEngine seeds a worker once, when it starts: after a resume that skips the sampler forward,
    workers would repeat the augmentations of the first batches. Batches go to workers in turn, so
    worker ``i`` of ``n`` loads batches ``first + i, first + i + n, ...``.
    """

    def __init__(self, loader: DataLoader, seed: int, first: int) -> None:
        self.seed, self.rank, self.batch = seed, get_rank(), first
        self.collate_fn, self.worker_init_fn = loader.collate_fn, loader.worker_init_fn
        loader.collate_fn, loader.worker_init_fn = self.collate, self.init_worker

    def init_worker(self, worker_id: int) -> None:
        """Runs in the worker when it starts."""
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)
        self._go_on(worker_id)

    def collate(self, samples: list):
        """Runs in the worker when a batch is loaded."""
        batch = self.collate_fn(samples)
        self._go_on(get_worker_info().num_workers)
        return batch

    def _go_on(self, batches: int) -> None:
        self.batch += batches
        _seed_all(_derived_seed(self.seed, self.rank, self.batch))
