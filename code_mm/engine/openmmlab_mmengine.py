"""What OpenMMLab's last MMEngine (0.10.7) lacks and its continuation has: resuming in seconds.

There a resumed loop loads and discards all that was trained on, and its workers have begun before
any hook can say where the data goes on.
"""

import itertools
import random
from collections.abc import Iterator
from functools import wraps

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.runner import IterBasedTrainLoop, loops
from torch.utils.data import DataLoader

_run = IterBasedTrainLoop.run  # MMEngine's


def complete_mmengine() -> None:
    """Give this process' MMEngine what the continuation has; nothing where it has it."""
    if not hasattr(InfiniteSampler, 'skip'):
        InfiniteSampler.skip = _skip
        loops._InfiniteDataloaderIterator = _LazyIterator
        IterBasedTrainLoop.fast_forward_on_resume = False  # hooks set it
        IterBasedTrainLoop.run = _run_lazily


def _skip(sampler: InfiniteSampler, num_samples: int) -> None:
    """Begin behind the first ``num_samples`` indices of this process."""
    sampler.indices = itertools.islice(sampler._indices_of_rank(), num_samples, None)


@wraps(_run)
def _run_lazily(loop: IterBasedTrainLoop):
    if isinstance(loop.dataloader_iterator, _LazyIterator):
        loop.dataloader_iterator.loop = loop
    return _run(loop)


class _LazyIterator(loops._InfiniteDataloaderIterator):
    """Starts the workers with the first batch that is used.

    A resumed loop asks for the batches that were trained on first: it gets None in their place
    where the sampler can skip them, or where a hook has set ``fast_forward_on_resume``.
    """

    loop: IterBasedTrainLoop

    def __init__(self, dataloader: DataLoader) -> None:
        self._dataloader = dataloader
        self._iterator: Iterator | None = None
        self._epoch = self._asked = 0

    def __next__(self):
        self._asked += 1
        if self._iterator is None:
            self._resumed_at, is_elsewhere = self.loop.iter, self.loop.fast_forward_on_resume
            sampler, batch_size = self._dataloader.sampler, self._dataloader.batch_size
            has_skip = hasattr(sampler, 'skip') and batch_size is not None
            if self._asked <= self._resumed_at and (is_elsewhere or has_skip):
                return None
            if has_skip and not is_elsewhere:
                sampler.skip(self._resumed_at * batch_size)
            self._iterator = iter(self._dataloader)
        if self._asked > self._resumed_at:
            return super().__next__()
        # what is loaded and discarded must not draw the numbers of the first batch in use
        python, numpy = random.getstate(), np.random.get_state()
        with torch.random.fork_rng([]):
            batch = super().__next__()
        random.setstate(python)
        np.random.set_state(numpy)
        return batch
