"""Batches in which no noun is learned twice.

In InfoNCE every other pair of a batch is a negative. Captions of the web seldom share a noun; of
the 23 nouns of the shapes world most occur in a batch more than once, as negatives of themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from torch.utils.data import IterableDataset

from code_mm.registry import DATASETS


@DATASETS.register_module()
class DistinctNounBatches(IterableDataset):
    """Captioned images without end, in an order that gives batches of distinct nouns.

    A sample with a noun that its batch already has waits for one of the next. Use it with
    ``sampler=None``. A worker makes whole batches; those of other processes are not looked at.

    Args:
        batch_size: That of the data loader.
        max_waiting: Samples that wait; when there are more, the oldest is left out.
        **dataset: Those of ``CaptionShardsDataset``.

    Raises:
        ValueError: 100 batches of samples did not give one of distinct nouns.
    """

    def __init__(self, batch_size: int, max_waiting: int = 256, **dataset) -> None:
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self.dataset = DATASETS.build(dict(type='CaptionShardsDataset', **dataset))

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[dict]:
        waiting: deque[dict] = deque()
        drawn = self._draw()
        while True:
            batch: list[dict] = []
            nouns: set[str] = set()
            kept: deque[dict] = deque(maxlen=self.max_waiting)
            for sample in waiting:
                self._take(sample, batch, nouns, kept)
            patience = 100 * self.batch_size
            while len(batch) < self.batch_size and patience:
                self._take(next(drawn), batch, nouns, kept)
                patience -= 1
            if len(batch) < self.batch_size:
                raise ValueError(
                    f'expected batches of {self.batch_size} samples without a common noun, but '
                    f'found no more than {len(batch)}; choose a smaller batch_size'
                )
            waiting = kept
            yield from batch

    def _draw(self) -> Iterator[dict]:
        while True:  # numpy's state is the worker's own, seeded by the Runner
            for index in np.random.permutation(len(self.dataset)):
                yield self.dataset[index]

    def _take(self, sample: dict, batch: list[dict], nouns: set[str], kept: deque[dict]) -> None:
        selected = sample['data_samples'].selected_nouns
        if len(batch) < self.batch_size and nouns.isdisjoint(selected):
            batch.append(sample)
            nouns.update(selected)
        else:
            kept.append(sample)
