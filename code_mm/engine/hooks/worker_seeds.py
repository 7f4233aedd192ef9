"""Random draws of loader workers that depend on the batch, not on the worker's past."""

import random

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, get_worker_info


def derived_seed(*numbers: int) -> int:
    """Mix numbers into one well spread 32-bit seed.

    Args:
        *numbers (int): Non-negative, for example seed, rank, iteration.

    Returns:
        int: In [0, 2**32); valid for torch, numpy and python alike.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seed torch (CPU and accelerators), numpy and python.

    Args:
        seed (int): In [0, 2**32).
    """
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def skips_without_loading(loader: DataLoader) -> bool:
    """Whether MMEngine's training loop resumes by moving the sampler forward.

    It does so for samplers with a ``skip`` method (``InfiniteSampler``) and a
    fixed batch size; otherwise workers load and discard what was trained on.
    """
    if hasattr(loader.sampler, 'skip') and loader.batch_size is not None:
        return True
    batch_sampler = loader.batch_sampler
    return type(batch_sampler) is BatchSampler and hasattr(batch_sampler.sampler, 'skip')


class WorkerSeeds:
    """Seeds every batch of a multi-worker loader by its number.

    MMEngine seeds a worker once, when it starts. After a resume that skips the
    sampler forward, workers would therefore repeat the augmentations of the
    first batches. Here a worker seeds itself for each of its batches, from
    (seed, rank, number of the batch): no matter when it was started, nor how
    many workers there are. Batches go to workers in turn, so worker ``i`` of
    ``n`` loads batches ``first + i, first + i + n, ...``.

    Args:
        loader (DataLoader): With workers; not iterated over yet.
        seed (int): Seed of the run.
        rank (int): Number of this process.
        first (int): Number of the first batch that will be loaded.
    """

    def __init__(self, loader: DataLoader, seed: int, rank: int, first: int) -> None:
        self.collate_fn = loader.collate_fn
        self.worker_init_fn = loader.worker_init_fn
        self.seed, self.rank, self.batch = seed, rank, first

    def init_worker(self, worker_id: int) -> None:
        """Runs in the worker when it starts, after the loader's own function."""
        if self.worker_init_fn is not None:
            self.worker_init_fn(worker_id)
        self.batch += worker_id
        seed_all(derived_seed(self.seed, self.rank, self.batch))

    def collate(self, samples: list):
        """Runs in the worker when the samples of a batch are loaded."""
        batch = self.collate_fn(samples)
        self.batch += get_worker_info().num_workers
        seed_all(derived_seed(self.seed, self.rank, self.batch))
        return batch


def seed_worker_batches(loader: DataLoader, seed: int, rank: int, first: int) -> None:
    """Let the workers of ``loader`` seed themselves per batch, see :class:`WorkerSeeds`."""
    previous = getattr(loader.collate_fn, '__self__', None)
    if isinstance(previous, WorkerSeeds):  # training was started a second time
        previous.batch = first
        return
    seeds = WorkerSeeds(loader, seed, rank, first)
    loader.collate_fn = seeds.collate
    loader.worker_init_fn = seeds.init_worker
