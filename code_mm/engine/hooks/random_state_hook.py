"""Random states that follow from the iteration, so that a resumed run is exact."""

import logging
import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, get_worker_info

from code_mm.datasets.captions import CaptionStreamDataset
from code_mm.registry import HOOKS

# Streams of one iteration: its data and its model must not draw the same numbers.
_DATA, _MODEL = 0, 1


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Make an interrupted and resumed training equal to an uninterrupted one.

    Restoring saved generator states is not enough for that: the checkpoint is
    written by rank 0 only, loader workers have states of their own and are ahead
    of the training, and making an iterator or validating draws numbers too.
    Instead every iteration *derives* its states (torch on CPU and accelerators,
    numpy, python) from (seed of the run, rank, iteration): before the forward pass,
    and before each batch that is loaded in this process or by a worker. So nothing has to be
    stored, any checkpoint can be resumed, ranks draw different numbers, and validation leaves no
    trace in training.

    Exact with ``InfiniteSampler`` (mmseg's standard) and any ``num_workers``,
    and with any sampler at ``num_workers=0``. Loaders that cannot be moved
    forward cheaply (a finite sampler with workers, an ``IterableDataset``) are
    left as they are: MMEngine replays them by loading from the start, which is
    exact too, for datasets that draw from ``np.random`` or ``random`` only. A
    ``CaptionStreamDataset`` goes on at the next shards (``StreamPositionHook``), so it is not
    exact. Needs a fixed ``randomness=dict(seed=...)``, as the order of the samples
    follows from it; ``train_cfg.fast_forward_on_resume`` gives up exactness.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._data_is_seeded = False
        self._data_is_replayed = False
        self._stream_states: tuple | None = None

    def before_train(self, runner) -> None:
        """Choose how the data is seeded; warn where a resume cannot be exact."""
        loader = runner.train_dataloader
        positioned = isinstance(loader.dataset, CaptionStreamDataset)
        stream = isinstance(loader.dataset, IterableDataset) and not positioned
        by_iteration = hasattr(runner.train_loop, 'dataloader_iterator')
        self._data_is_replayed = loader.num_workers == 0 and stream and by_iteration
        self._data_is_seeded = loader.num_workers == 0 and not self._data_is_replayed
        if loader.num_workers > 0 and (positioned or _skips_without_loading(loader)):
            _seed_worker_batches(loader, _derived_seed(runner.seed, _DATA), runner.iter)
        if runner.iter > 0 and (runner.cfg.get('randomness') or {}).get('seed') is None:
            print_log(
                'Resuming without a fixed seed: the order of the samples differs from the '
                'interrupted run. Set randomness=dict(seed=...) for an exact resume.',
                logger='current',
                level=logging.WARNING,
            )

    def before_train_epoch(self, runner) -> None:
        """Seed the first batch."""
        if self._data_is_replayed:
            self._seed_data(runner, 0)
        elif self._data_is_seeded:
            self._seed_data(runner, runner.iter)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed the forward pass of this iteration."""
        if self._data_is_replayed:
            self._stream_states = np.random.get_state(), random.getstate()
        _seed_all(_derived_seed(runner.seed, _MODEL, get_rank(), runner.iter))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Seed the next batch."""
        self._prepare_data(runner, runner.iter + 1)

    def after_val(self, runner) -> None:
        """Seed the next batch again, as validation may have drawn numbers."""
        self._prepare_data(runner, runner.iter)

    def _prepare_data(self, runner, iteration: int) -> None:
        if self._data_is_seeded:
            self._seed_data(runner, iteration)
        elif self._stream_states is not None:
            # the stream goes on as if nothing but it had drawn
            np.random.set_state(self._stream_states[0])
            random.setstate(self._stream_states[1])

    def _seed_data(self, runner, iteration: int) -> None:
        _seed_all(_derived_seed(_derived_seed(runner.seed, _DATA), get_rank(), iteration))


def _derived_seed(*numbers: int) -> int:
    """Mix non-negative numbers (seed, rank, iteration …) into one well spread 32-bit seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _seed_all(seed: int) -> None:
    torch.manual_seed(seed)  # also accelerators
    np.random.seed(seed)
    random.seed(seed)


def _skips_without_loading(loader: DataLoader) -> bool:
    """Whether MMEngine's training loop resumes by moving the sampler forward.

    It does so for samplers with a ``skip`` method (``InfiniteSampler``) and a
    fixed batch size; otherwise workers load and discard what was trained on.
    """
    if hasattr(loader.sampler, 'skip') and loader.batch_size is not None:
        return True
    batch_sampler = loader.batch_sampler
    return type(batch_sampler) is BatchSampler and hasattr(batch_sampler.sampler, 'skip')


class _WorkerSeeds:
    """Seeds every batch of a multi-worker loader by its number.

    MMEngine seeds a worker once, when it starts. After a resume that skips the
    sampler forward, workers would therefore repeat the augmentations of the
    first batches. Here a worker seeds itself for each of its batches, from
    (seed, rank, number of the batch): no matter when it was started, nor how
    many workers there are. Batches go to workers in turn, so worker ``i`` of
    ``n`` loads batches ``first + i, first + i + n, ...``.
    """

    def __init__(self, loader: DataLoader, seed: int, first: int) -> None:
        self.collate_fn = loader.collate_fn
        self.worker_init_fn = loader.worker_init_fn
        self.seed, self.rank, self.batch = seed, get_rank(), first

    def init_worker(self, worker_id: int) -> None:
        """Runs in the worker when it starts, after the loader's own function."""
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)
        self._go_on(worker_id)

    def collate(self, samples: list):
        """Runs in the worker when the samples of a batch are loaded."""
        batch = self.collate_fn(samples)
        self._go_on(get_worker_info().num_workers)
        return batch

    def _go_on(self, batches: int) -> None:
        self.batch += batches
        _seed_all(_derived_seed(self.seed, self.rank, self.batch))


def _seed_worker_batches(loader: DataLoader, seed: int, first: int) -> None:
    """Let the workers of a loader seed themselves from batch number ``first`` on."""
    previous = getattr(loader.collate_fn, '__self__', None)
    if isinstance(previous, _WorkerSeeds):  # training was started a second time
        previous.batch = first
        return
    seeds = _WorkerSeeds(loader, seed, first)
    loader.collate_fn = seeds.collate
    loader.worker_init_fn = seeds.init_worker
