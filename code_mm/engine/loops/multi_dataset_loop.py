"""Validation and test on any list of data sets with one model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from numbers import Real

from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop
from torch import nn

from code_mm.registry import LOOPS

from ..hooks.class_names_hook import hand_over_class_names, require_method, unwrapped_model
from .benchmark import AS_THE_MODEL, Benchmark, build_benchmarks, choose_benchmarks


class AllBatches:
    """What hooks see as the loop's dataloader: all batches of the run, the current data set."""

    def __init__(self, benchmarks: Sequence[Benchmark]) -> None:
        self._length = sum(len(benchmark.dataloader) for benchmark in benchmarks)
        self.dataset = benchmarks[0].dataloader.dataset

    def __len__(self) -> int:
        return self._length


class MultiDatasetLoop:
    """Evaluates one model on several benchmarks, one after the other.

    Before each benchmark the model is told its class names and background threshold; class lists
    are embedded once. Metrics are logged as ``voc21/mIoU``, and those that all benchmarks have
    also as their mean, ``mean/mIoU``: ``CheckpointHook(save_best='mean/mIoU')`` keeps the best.
    Hooks see one epoch over all batches; around each benchmark the loop calls their methods
    ``before_benchmark(runner, benchmark)`` and ``after_benchmark(runner, benchmark, metrics)``.

    Args:
        runner (Runner): Whose model is evaluated.
        dataloader (dict): ``val_dataloader``/``test_dataloader``: the loader keys that all
            benchmarks share, and in its ``dataset`` their pipeline.
        evaluator (dict | list): ``val_evaluator``/``test_evaluator``: metrics of all benchmarks
            that have no ``evaluator`` of their own. Files (``output_dir``) go to one folder each.
        benchmarks (dict): Name -> dict of ``dataset`` and optionally ``dataloader`` (its own
            loader keys), ``evaluator``, ``background_threshold`` (the model's where the key is
            missing), ``name_scores`` (likewise) and ``class_names`` (a list or a file; the data
            set's where it is missing). None leaves a benchmark out.
        only (Sequence[str], optional): Names of those to run, in this order; all by default.
        fp16 (bool): Mixed precision.
    """

    stage: str

    def __init__(
        self,
        runner,
        dataloader: Mapping,
        evaluator: Mapping | Sequence,
        benchmarks: Mapping,
        only: Sequence[str] | None = None,
        fp16: bool = False,
    ) -> None:
        chosen = choose_benchmarks(benchmarks, only)
        self.benchmarks = build_benchmarks(runner, chosen, dataloader, evaluator)
        first = self.benchmarks[0].evaluator
        super().__init__(runner, AllBatches(self.benchmarks), first, fp16)

    def run(self) -> dict[str, float]:
        """Evaluate all benchmarks: metrics with their name in front, and their means."""
        self.runner.call_hook(f'before_{self.stage}')
        self.runner.call_hook(f'before_{self.stage}_epoch')
        self.runner.model.eval()
        by_benchmark: dict[str, dict] = {}
        first_batch = 0
        for benchmark in self.benchmarks:
            with self._settings_of(benchmark, unwrapped_model(self.runner.model)):
                by_benchmark[benchmark.name] = self._evaluate(benchmark, first_batch)
            first_batch += len(benchmark.dataloader)
        metrics = {
            f'{name}/{key}': value
            for name, values in by_benchmark.items()
            for key, value in values.items()
        }
        metrics.update(mean_metrics(by_benchmark))
        self.runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{self.stage}')
        return metrics

    @contextmanager
    def _settings_of(self, benchmark: Benchmark, model: nn.Module) -> Iterator[None]:
        """Turn model, metrics and visualizer to a benchmark, and the model back after it."""
        dataset = benchmark.dataloader.dataset
        self.dataloader.dataset, self.evaluator = dataset, benchmark.evaluator
        meta = getattr(dataset, 'metainfo', None)
        if meta is not None:
            self.evaluator.dataset_meta = self.runner.visualizer.dataset_meta = meta
        head = getattr(model, 'decode_head', None)
        own_threshold = getattr(model, 'background_threshold', None)
        own_scores = getattr(head, 'name_scores', None)
        threshold = benchmark.background_threshold
        try:
            if benchmark.name_scores != AS_THE_MODEL:
                require_method(model, 'set_name_scores')
                model.set_name_scores(benchmark.name_scores)
            hand_over_class_names(
                model,
                dataset,
                benchmark.class_names,
                background_threshold=own_threshold if threshold == AS_THE_MODEL else threshold,
            )
            self.runner.call_hook('before_benchmark', benchmark=benchmark)
            yield
        finally:
            if hasattr(model, 'set_background_threshold'):
                model.set_background_threshold(own_threshold)
            if hasattr(head, 'name_scores'):
                head.name_scores = own_scores

    def _evaluate(self, benchmark: Benchmark, first_batch: int) -> dict[str, float]:
        start = time.monotonic()
        losses = getattr(self, f'{self.stage}_loss', {})
        losses.clear()
        for batch_idx, data_batch in enumerate(benchmark.dataloader, first_batch):
            self.run_iter(batch_idx, data_batch)
        count = len(benchmark.dataloader.dataset)
        metrics = dict(self.evaluator.evaluate(count))
        metrics.update({name: values.mean() for name, values in losses.items()})
        self.runner.call_hook('after_benchmark', benchmark=benchmark, metrics=metrics)
        number = self.benchmarks.index(benchmark) + 1
        values = ', '.join(f'{k} {v:.2f}' for k, v in metrics.items() if isinstance(v, Real))
        print_log(
            f'Benchmark {number} of {len(self.benchmarks)}, {benchmark.name}: {values} '
            f'({count} images in {timedelta(seconds=round(time.monotonic() - start))})',
            logger='current',
        )
        return metrics


@LOOPS.register_module()
class MultiDatasetValLoop(MultiDatasetLoop, ValLoop):
    """Validation on several benchmarks; see :class:`MultiDatasetLoop`."""

    stage = 'val'


@LOOPS.register_module()
class MultiDatasetTestLoop(MultiDatasetLoop, TestLoop):
    """Test on several benchmarks; see :class:`MultiDatasetLoop`."""

    stage = 'test'


def mean_metrics(by_benchmark: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Means over benchmarks of the numbers that all of them have, as ``mean/<metric>``."""
    names = list(by_benchmark)
    numbers = [
        {key: value for key, value in values.items() if isinstance(value, Real)}
        for values in by_benchmark.values()
    ]
    shared = [key for key in numbers[0] if all(key in others for others in numbers)]
    others = sorted({key for values in numbers for key in values} - set(shared))
    text = f'mean/{{{", ".join(shared)}}}' if shared else 'no metric'
    left_out = f'; not measured on all of them, so not averaged: {others}' if others else ''
    print_log(f'Averaged over {names}: {text}{left_out}', logger='current')
    return {
        f'mean/{key}': float(sum(float(values[key]) for values in numbers) / len(numbers))
        for key in shared
    }
