"""Validation and test on any list of data sets with one model."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from numbers import Real
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop
from torch.utils.data import DataLoader

from code_mm.registry import LOOPS
from code_mm.vocabulary import ClassNameFile

from ..config_parts import check_keys
from ..hooks.class_names_hook import (
    hand_over_class_names,
    read_class_names,
    require_method,
    unwrapped_model,
)

SETTINGS = ('background_threshold', 'name_scores')  # of the model, each with its set_ method
KEYS = ('dataset', 'dataloader', 'evaluator', 'class_names', *SETTINGS)


@dataclass
class Benchmark:
    """A data set, its metrics, and what the model is told for it.

    Args:
        name (str): Prefix of its metrics, ``voc21`` in ``voc21/mIoU``.
        dataloader (DataLoader): Its images and labels.
        evaluator (Evaluator): Its metrics.
        class_names (list[str] | ClassNameFile, optional): In place of the data set's own.
        settings (dict): Those of ``SETTINGS`` that replace the model's own.
    """

    name: str
    dataloader: DataLoader
    evaluator: Evaluator
    class_names: list[str] | ClassNameFile | None
    settings: dict


class MultiDatasetLoop:
    """Evaluates one model on several benchmarks, one after the other.

    Before each benchmark the model is told its class names and background threshold. Metrics are
    logged as ``voc21/mIoU``, and those that all benchmarks have also as their mean, ``mean/mIoU``:
    ``CheckpointHook(save_best='mean/mIoU')`` keeps the best. Hooks see one epoch over all batches;
    around each benchmark the loop calls their methods ``before_benchmark(runner, benchmark)`` and
    ``after_benchmark(runner, benchmark, metrics)``.

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
        only (str | Sequence[str], optional): Those to run, in this order; all by default.
        fp16 (bool): Mixed precision.

    Raises:
        ValueError: ``benchmarks`` is not a dict of dicts, a name or key is unknown, or nothing is
            left to run.
        RuntimeError: A data set cannot be built or is empty; says of which benchmark.
    """

    stage: str

    def __init__(
        self,
        runner,
        dataloader: Mapping,
        evaluator: Mapping | Sequence,
        benchmarks: Mapping,
        only: str | Sequence[str] | None = None,
        fp16: bool = False,
    ) -> None:
        self.benchmarks = [
            _build(runner, name, keys, dataloader, evaluator)
            for name, keys in choose_benchmarks(benchmarks, only).items()
        ]
        # what hooks see as the loop's dataloader: all batches of the run, the current data set
        all_batches = _AllBatches(dataset=self.benchmarks[0].dataloader.dataset)
        all_batches.length = sum(len(benchmark.dataloader) for benchmark in self.benchmarks)
        super().__init__(runner, all_batches, self.benchmarks[0].evaluator, fp16)

    def run(self) -> dict[str, float]:
        """Evaluate all benchmarks: metrics with their name in front, and their means."""
        self.runner.call_hook(f'before_{self.stage}')
        self.runner.call_hook(f'before_{self.stage}_epoch')
        self.runner.model.eval()
        by_benchmark: dict[str, dict] = {}
        first_batch = 0
        for benchmark in self.benchmarks:
            by_benchmark[benchmark.name] = self._evaluate(benchmark, first_batch)
            first_batch += len(benchmark.dataloader)
        metrics = {
            f'{name}/{key}': value
            for name, values in by_benchmark.items()
            for key, value in values.items()
        }
        metrics.update(_means(by_benchmark))
        self.runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{self.stage}')
        return metrics

    def _evaluate(self, benchmark: Benchmark, first_batch: int) -> dict[str, float]:
        start = time.monotonic()
        model, dataset = unwrapped_model(self.runner.model), benchmark.dataloader.dataset
        self.dataloader.dataset, self.evaluator = dataset, benchmark.evaluator
        if (meta := getattr(dataset, 'metainfo', None)) is not None:
            self.evaluator.dataset_meta = self.runner.visualizer.dataset_meta = meta
        own_threshold = getattr(model, 'background_threshold', None)
        own_scores = getattr(getattr(model, 'decode_head', None), 'name_scores', None)
        for key, value in benchmark.settings.items():
            require_method(model, f'set_{key}')(value)
        hand_over_class_names(model, dataset, benchmark.class_names)
        self.runner.call_hook('before_benchmark', benchmark=benchmark)
        for batch_idx, data_batch in enumerate(benchmark.dataloader, first_batch):
            self.run_iter(batch_idx, data_batch)
        metrics = dict(self.evaluator.evaluate(len(dataset)))
        self.runner.call_hook('after_benchmark', benchmark=benchmark, metrics=metrics)
        if 'background_threshold' in benchmark.settings:
            model.set_background_threshold(own_threshold)
        if 'name_scores' in benchmark.settings:
            model.decode_head.name_scores = own_scores
        values = ', '.join(f'{k} {v:.2f}' for k, v in metrics.items() if isinstance(v, Real))
        print_log(
            f'Benchmark {benchmark.name} (of {len(self.benchmarks)}): {values} ({len(dataset)} '
            f'images in {timedelta(seconds=round(time.monotonic() - start))})',
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


def choose_benchmarks(benchmarks: Mapping, only: str | Sequence[str] | None = None) -> dict:
    """Check names and keys; leave out benchmarks set to None, and those not in ``only``."""
    if not isinstance(benchmarks, Mapping):
        raise ValueError(
            'expected benchmarks as a dict, name=dict(dataset=...), but got '
            f'{type(benchmarks).__name__}; two of the same name would write to one metric'
        )
    chosen = {name: keys for name, keys in benchmarks.items() if keys is not None}
    for name, keys in chosen.items():
        _check(name, keys)
    if not chosen:
        raise ValueError(f'expected at least one benchmark, but all of {list(benchmarks)} are None')
    wanted = list(chosen) if only is None else [only] if isinstance(only, str) else list(only)
    check_keys(f'the benchmarks of only={wanted}', wanted, set(chosen))
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f'expected each benchmark once in only, but got {wanted}')
    return {name: chosen[name] for name in wanted}


def loader_config(keys: Mapping, shared: Mapping) -> dict:
    """Config of a benchmark's loader: its own keys over those that all share."""
    merged = copy.deepcopy({**shared, **(keys.get('dataloader') or {})})
    pipeline = {k: v for k, v in (merged.get('dataset') or {}).items() if k == 'pipeline'}
    merged['dataset'] = {**pipeline, **copy.deepcopy(dict(keys['dataset']))}
    merged['persistent_workers'] = False  # workers end with the one pass over their benchmark
    return merged


class _AllBatches(SimpleNamespace):
    def __len__(self) -> int:
        return self.length


def _build(runner, name: str, keys: Mapping, dataloader, evaluator) -> Benchmark:
    class_names = read_class_names(keys.get('class_names'))
    try:
        loader = runner.build_dataloader(
            loader_config(keys, dataloader),
            seed=runner.seed,
            diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False),
        )
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'
        if 'need at least one array' in reason:  # MMEngine, on a data set of no image
            reason = 'no image'
        raise RuntimeError(
            f'expected the data of benchmark {name!r} in {keys["dataset"].get("data_root")!r}, '
            f'but got {reason}. Prepare it, or leave the benchmark out: benchmarks.{name}=None, '
            'or name the others in only=[...]'
        ) from error
    metrics = runner.build_evaluator(keys.get('evaluator') or _own_folders(evaluator, name))
    settings = {key: keys[key] for key in SETTINGS if key in keys}
    return Benchmark(name, loader, metrics, class_names, settings)


def _own_folders(evaluator: Mapping | Sequence, name: str) -> Mapping | list:
    """A metric that all share writes its files into a folder per benchmark."""
    if isinstance(evaluator, Mapping):
        folder = evaluator.get('output_dir')
        return {**evaluator, 'output_dir': str(Path(folder) / name)} if folder else dict(evaluator)
    return [_own_folders(metric, name) for metric in evaluator]


def _means(by_benchmark: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Means over benchmarks of the numbers that all of them have, as ``mean/<metric>``."""
    found = list(by_benchmark.values())
    keys = [key for values in found for key, value in values.items() if isinstance(value, Real)]
    shared = [key for key in dict.fromkeys(keys) if keys.count(key) == len(found)]
    others = sorted(set(keys) - set(shared))
    print_log(
        f'Averaged over {list(by_benchmark)}: {shared or "no metric"}'
        + (f'; not measured on all of them, so not averaged: {others}' if others else ''),
        logger='current',
    )
    return {f'mean/{key}': fmean(float(values[key]) for values in found) for key in shared}


def _check(name: str, keys: Mapping) -> None:
    if not name or '/' in name or name == 'mean':
        raise ValueError(
            f"expected a benchmark name without '/' that is not 'mean', but got {name!r}"
        )
    if not isinstance(keys, Mapping) or not isinstance(keys.get('dataset'), Mapping):
        raise ValueError(
            f"expected benchmark {name!r} as a dict with the key 'dataset' (a dict), but got "
            f'{keys!r}'
        )
    check_keys(f'benchmark {name!r}', keys, set(KEYS))
