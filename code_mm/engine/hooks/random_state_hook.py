"""Random states that follow from the iteration, so that a resumed run is exact."""

import logging

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import manual_seed
from torch.utils.data import IterableDataset

from code_mm.registry import HOOKS

from .worker_seeds import derived_seed, seed_all, seed_worker_batches, skips_without_loading

# Streams of one iteration: its data and its model must not draw the same numbers.
_DATA, _MODEL = 0, 1


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Make an interrupted and resumed training equal to an uninterrupted one.

    Restoring saved generator states is not enough for that: the checkpoint is
    written by rank 0 only, loader workers have states of their own and are ahead
    of the training, and making an iterator or validating draws numbers too.
    Instead every iteration *derives* its states (torch on CPU and accelerators,
    numpy, python) from (seed of the run, rank, iteration):

    - before the forward pass all generators are seeded for this iteration,
    - data that is loaded in this process (``num_workers=0``) or by workers is
      seeded by the number of its batch.

    So nothing has to be stored, any checkpoint can be resumed, ranks draw
    different numbers, and validation leaves no trace in training.

    Exact with ``InfiniteSampler`` (mmseg's standard) and any ``num_workers``,
    and with any sampler at ``num_workers=0``. Loaders that cannot be moved
    forward cheaply (a finite sampler with workers, an ``IterableDataset``) are
    left as they are: MMEngine replays them by loading from the start, which is
    exact too, for datasets that draw from ``np.random`` or ``random`` only.
    Needs a fixed ``randomness=dict(seed=...)``, as the order of the samples
    follows from it; ``train_cfg.fast_forward_on_resume`` gives up exactness.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._seeds_data = False
        self._seeds_model_fully = True

    def before_train(self, runner) -> None:
        """Choose how the data is seeded; warn where a resume cannot be exact."""
        loader = runner.train_dataloader
        replayed = isinstance(loader.dataset, IterableDataset) and loader.num_workers == 0
        # A stream that is replayed in this process must find numpy's and
        # python's states as it left them.
        self._seeds_model_fully = not replayed
        self._seeds_data = loader.num_workers == 0 and not replayed
        if loader.num_workers > 0 and skips_without_loading(loader):
            seed_worker_batches(loader, derived_seed(runner.seed, _DATA), get_rank(), runner.iter)
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
        seed = derived_seed(runner.seed, _MODEL, get_rank(), runner.iter)
        if self._seeds_model_fully:
            seed_all(seed)
        else:
            manual_seed(seed)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Seed the next batch."""
        self._seed_data(runner, runner.iter + 1)

    def after_val(self, runner) -> None:
        """Seed the next batch again, as validation may have drawn numbers."""
        self._seed_data(runner, runner.iter)

    def _seed_data(self, runner, iteration: int) -> None:
        if self._seeds_data:
            seed_all(derived_seed(derived_seed(runner.seed, _DATA), get_rank(), iteration))
