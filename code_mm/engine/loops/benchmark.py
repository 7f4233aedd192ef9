"""One of several data sets that a model is evaluated on."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from code_mm.vocabulary import ClassNameFile

from ..hooks.class_names_hook import read_class_names

KEYS = (
    *('dataset', 'dataloader', 'evaluator'),
    *('background_threshold', 'class_names', 'name_scores'),
)
AS_THE_MODEL = 'as the model'  # a setting that a benchmark does not give


@dataclass
class Benchmark:
    """A data set, its metrics, and the class names and threshold it is evaluated with.

    Args:
        name (str): Prefix of its metrics, ``voc21`` in ``voc21/mIoU``.
        dataloader (DataLoader): Its images and labels.
        evaluator (Evaluator): Its metrics.
        background_threshold (float | str, optional): Score of the background plane, None without
            one; ``AS_THE_MODEL`` leaves what the model's config says.
        class_names (list[str], optional): In place of the data set's own.
        class_name_file (ClassNameFile, optional): Where they were read from.
        name_scores (dict | str, optional): How cosines become class scores, see ``ZeroShotHead``;
            ``AS_THE_MODEL`` leaves what the model's config says.
    """

    name: str
    dataloader: DataLoader
    evaluator: Evaluator
    background_threshold: float | str | None = AS_THE_MODEL
    class_names: list[str] | None = None
    class_name_file: ClassNameFile | None = None
    name_scores: dict | str | None = AS_THE_MODEL


def choose_benchmarks(benchmarks: Mapping, only: str | Sequence[str] | None = None) -> dict:
    """Check names and keys; leave out benchmarks set to None, and those not in ``only``."""
    if not isinstance(benchmarks, Mapping):
        raise TypeError(
            'expected benchmarks as a dict, name=dict(dataset=...), but got '
            f'{type(benchmarks).__name__}; two of the same name would write to one metric'
        )
    chosen = {name: keys for name, keys in benchmarks.items() if keys is not None}
    for name, keys in chosen.items():
        _check(name, keys)
    wanted = [only] if isinstance(only, str) else only
    if wanted is not None:
        for name in wanted:
            if name not in chosen:
                raise ValueError(_unknown(f'a benchmark in only={list(wanted)}', name, chosen))
        if len(set(wanted)) < len(wanted):
            raise ValueError(f'expected each benchmark once in only, but got {list(wanted)}')
        chosen = {name: chosen[name] for name in wanted}
    if not chosen:
        raise ValueError(f'expected at least one benchmark, but all of {list(benchmarks)} are None')
    return chosen


def build_benchmarks(
    runner, benchmarks: Mapping, dataloader: Mapping, evaluator: Mapping | Sequence
) -> list[Benchmark]:
    """Build data sets and metrics of what :func:`choose_benchmarks` gave.

    No loader worker starts before a benchmark's turn.

    Raises:
        RuntimeError: A data set cannot be built or is empty; says of which benchmark.
    """
    return [_build(runner, name, keys, dataloader, evaluator) for name, keys in benchmarks.items()]


def _build(runner, name: str, keys: Mapping, dataloader, evaluator) -> Benchmark:
    class_names, class_name_file = read_class_names(keys.get('class_names'))
    loader_cfg = loader_config(keys, dataloader)
    try:
        loader = runner.build_dataloader(
            loader_cfg,
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
    metrics = keys.get('evaluator') or _own_folders(evaluator, name)
    return Benchmark(
        name,
        loader,
        runner.build_evaluator(copy.deepcopy(metrics)),
        keys.get('background_threshold', AS_THE_MODEL),
        class_names,
        class_name_file,
        keys.get('name_scores', AS_THE_MODEL),
    )


def loader_config(keys: Mapping, shared: Mapping) -> dict:
    """Config of a benchmark's loader: its own keys over those that all share."""
    own = dict(keys.get('dataloader') or {})
    merged = copy.deepcopy({**shared, **own, 'dataset': dict(keys['dataset'])})
    pipeline = (shared.get('dataset') or {}).get('pipeline')
    if 'pipeline' not in merged['dataset'] and pipeline is not None:
        merged['dataset']['pipeline'] = copy.deepcopy(pipeline)
    # Workers end with the one pass over their benchmark.
    merged['persistent_workers'] = False
    return merged


def _own_folders(evaluator: Mapping | Sequence, name: str) -> Mapping | list:
    """A metric that all share writes its files into a folder per benchmark."""
    if isinstance(evaluator, Mapping):
        folder = evaluator.get('output_dir')
        return {**evaluator, 'output_dir': str(Path(folder) / name)} if folder else evaluator
    return [_own_folders(metric, name) for metric in evaluator]


def _check(name: str, keys: Mapping) -> None:
    if not name or '/' in name or name == 'mean':
        raise ValueError(
            f"expected a benchmark name without '/' that is not 'mean', but got {name!r}"
        )
    if not isinstance(keys, Mapping):
        raise TypeError(f'expected benchmark {name!r} as a dict, but got {keys!r}')
    for key in keys:
        if key not in KEYS:
            raise ValueError(_unknown(f'a key of benchmark {name!r}', key, KEYS))
    if not isinstance(keys.get('dataset'), Mapping):
        raise ValueError(
            f"expected the key 'dataset' (a dict) in benchmark {name!r}, but got {list(keys)}"
        )


def _unknown(what: str, given: str, valid: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(given, valid, n=1, cutoff=0.6)
    advice = f'; did you mean {nearest[0]!r}?' if nearest else ''
    return f'expected {what} to be one of {list(valid)}, but got {given!r}{advice}'
