"""Resuming of a stream of captions, and names for what it hangs at."""

import logging
import warnings

import torch
from mmengine.dist import all_gather, all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log

from code_mm.datasets.captions import CaptionStreamDataset
from code_mm.registry import HOOKS

_KEY = 'stream_positions'


@HOOKS.register_module()
class StreamPositionHook(Hook):
    """Have a training on :class:`~code_mm.datasets.CaptionStreamDataset` resume in seconds.

    MMEngine resumes an iterable dataset by loading and discarding everything that was
    trained on. Here the checkpoint keeps how far every loader worker of every process is:

    - With the same numbers of processes and workers, no shard (or part of one, with fewer
      shards than workers) that was begun in the present pass is read again in it, and none that
      was not is left out. What was not yet read of the open ones is left out of this pass.
    - With other numbers every worker begins at the pass and at the share of its shards that the
      old ones had reached on average; some shards come twice in this pass and some not at all.
    - The order of all later passes is that of an uninterrupted run. Each resumed run is
      reproducible, but it is not the run that was interrupted.

    The hook also gives the dataset the run's seed, logs the counts of left-out samples over
    all processes, and has the errors of a worker that hangs (key ``timeout`` of the loader)
    or was killed say which shard each worker was at. Other datasets are left alone.

    Args:
        interval (int): Iterations between two takings of the positions. A divisor of
            ``CheckpointHook.interval``, so that they are as old as the checkpoint.
        log_interval (int): Iterations between two lines of counts.
    """

    def __init__(self, interval: int = 50, log_interval: int = 1000) -> None:
        if interval < 1 or log_interval < 1:
            raise ValueError(
                f'expected interval and log_interval >= 1, but got {interval} and {log_interval}'
            )
        self.interval, self.log_interval = interval, log_interval
        self._dataset: CaptionStreamDataset | None = None
        self._positions: list | None = None

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take the positions out of the checkpoint."""
        self._positions = checkpoint.get(_KEY)

    def before_train(self, runner) -> None:
        """Put the stream where the interrupted run left it; no worker has begun yet."""
        loader = runner.train_dataloader
        if not isinstance(loader.dataset, CaptionStreamDataset):
            return
        loop = runner.train_loop
        self._dataset = loader.dataset
        if self._dataset.seed is None:
            self._dataset.seed = runner.seed
        # torch warns in every iteration after the first pass, which is no mistake here
        warnings.filterwarnings('ignore', 'Length of IterableDataset', UserWarning)
        if runner.iter == 0:
            self._positions = None
        elif self._positions is not None and hasattr(loop, 'fast_forward_on_resume'):
            positions = torch.tensor(self._positions, dtype=torch.float64)
            self._dataset.resume_at(positions, loader.num_workers)
            loop.fast_forward_on_resume = True
            reached = self._dataset.workers.passes(loader.num_workers).mean(0).tolist()
            text = f'goes on at the next shard of each worker; passes over each source: {reached}'
            print_log(f'{self._dataset.name}: {text}', logger='current')
        else:
            print_log(
                f'{self._dataset.name}: the checkpoint holds no positions of the stream, so '
                'what was trained on is loaded again and discarded. To begin the stream anew '
                'instead, set train_cfg.fast_forward_on_resume=True',
                logger='current',
                level=logging.WARNING,
            )
        if hasattr(loop, 'dataloader_iterator'):
            loop.dataloader_iterator = _NamedFailures(loop.dataloader_iterator, self._dataset)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Take the positions, which the next checkpoint will hold; log the counts."""
        if self._dataset is None:
            return
        last = runner.iter + 1 == runner.max_iters
        if last or self.every_n_train_iters(runner, self.interval):
            own = self._dataset.workers.passes(runner.train_dataloader.num_workers)
            self._positions = [rank.tolist() for rank in all_gather(own)]
        if last or self.every_n_train_iters(runner, self.log_interval):
            totals = torch.tensor(self._dataset.ledger.totals())
            all_reduce(totals)
            self._dataset.ledger.log_totals(totals.tolist(), get_world_size())

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the positions."""
        if self._dataset is not None and self._positions is not None:
            checkpoint[_KEY] = self._positions


class _NamedFailures:
    """A loop's iterator whose errors say what each loader worker was doing."""

    def __init__(self, iterator, dataset: CaptionStreamDataset) -> None:
        self._named_iterator = iterator
        self._dataset = dataset

    def __next__(self):
        try:
            return next(self._named_iterator)
        except RuntimeError as error:
            lines = self._dataset.workers.lines()
            if not lines or not str(error).startswith('DataLoader'):
                raise  # a worker's own error, which says what is wrong
            doing = '\n'.join(lines)
            raise RuntimeError(f'{error}\nWhat the loader was doing:\n{doing}') from error

    def __getattr__(self, name: str):
        return getattr(self._named_iterator, name)
