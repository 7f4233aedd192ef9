"""Print and save every score with all that it was measured with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import mmcv
import mmengine
import mmseg
import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook

from code_mm.atomic_write import write_text
from code_mm.datasets.benchmarks.table import PUBLISHED, SOURCE, benchmark_of
from code_mm.evaluation.protocol import (
    check_protocol_name,
    dataset_protocol,
    departures,
    model_protocol,
    plain,
)
from code_mm.evaluation.result_table import benchmark_rows, benchmark_table
from code_mm.registry import HOOKS
from code_mm.version import __version__
from code_mm.vocabulary import ClassNameFile
from code_mm.weights import weights_sha256
from code_mm.weights.model_weights import pretrained_files

from .class_names_hook import ClassNamesHook, unwrapped_model


@HOOKS.register_module()
class ProtocolHook(Hook):
    """Keeps the protocol of every evaluation beside its scores.

    After each validation or test it logs a table of the scores, with published figures where data
    set and protocol are those of thesis Table 4.1, and the protocol; and writes both to the folder
    ``results`` beside the log: ``test.md`` and ``test.json``, in training ``val_iter_1000.*``.
    It works with any loop and any segmentor.

    Args:
        published (Sequence[str]): Methods whose published mIoU is shown; the names are those of
            ``code_mm.datasets.benchmarks.table.PUBLISHED``.

    The protocol's own name, 'code' or 'sclip', is the config's top-level key ``protocol``. It is
    checked: settings that depart from the named protocol are listed behind the name.
    """

    # after the hooks that exchange weights or hand over class names
    priority = 'VERY_LOW'

    def __init__(self, published: Sequence[str] = ('CoDe', 'TCL')) -> None:
        unknown = [name for name in published if name not in PUBLISHED]
        if unknown:
            raise ValueError(f'expected published among {list(PUBLISHED)}, but got {unknown}')
        self.published = tuple(published)
        self._record: dict = {}
        self._several = False

    def before_val_epoch(self, runner) -> None:
        self._begin(runner, runner.val_loop, runner.iter)

    def before_test_epoch(self, runner) -> None:
        # runner.iter would build the training loop, whose data a test does not need
        self._begin(runner, runner.test_loop, iteration=None)

    def before_benchmark(self, runner, benchmark) -> None:
        self._note(runner, benchmark.name, benchmark.dataloader.dataset, benchmark.class_names)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._finish(runner, metrics, f'val_iter_{runner.iter}')

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self._finish(runner, metrics, 'test')

    def _begin(self, runner, loop, iteration: int | None) -> None:
        check_protocol_name(runner.cfg.get('protocol'))
        if is_main_process():  # its checksum is enough: all processes have the same weights
            self._record = _run_protocol(runner, loop, iteration)
        self._several = hasattr(loop, 'benchmarks')
        if not self._several:
            dataset = loop.dataloader.dataset
            name = benchmark_of(type(dataset).__name__) or type(dataset).__name__
            hooks = [hook for hook in runner.hooks if isinstance(hook, ClassNamesHook)]
            self._note(runner, name, dataset, hooks[0].class_names if hooks else None)

    def _note(self, runner, name: str, dataset, class_names) -> None:
        if not is_main_process():
            return
        settings = dataset_protocol(dataset)
        model = model_protocol(unwrapped_model(runner.model))
        if 'class_names' in model:
            origin = 'data set' if class_names is None else 'config'
            if isinstance(class_names, ClassNameFile):
                origin = dict(file=class_names.source, sha256=class_names.sha256)
            model['class_names_from'] = origin
        self._record['benchmarks'][name] = dict(
            metrics={},
            dataset=settings,
            model=model,
            departures=departures(self._record['protocol'], settings, model),
        )

    def _finish(self, runner, metrics: Mapping | None, stem: str) -> None:
        if not is_main_process() or not metrics:
            return
        record = self._record
        for name, part in record['benchmarks'].items():
            start = f'{name}/' if self._several else ''
            part['metrics'] = {
                key.removeprefix(start): value
                for key, value in metrics.items()
                if key.startswith(start)
            }
        # the published figures are of this protocol
        beside = self.published if record['protocol'] in (None, 'code') else ()
        rows = record['table'] = benchmark_rows(record['benchmarks'], beside)
        text = benchmark_table(rows) + '\n\n' + '\n'.join(_summary(record)) + '\n'
        folder = Path(runner.log_dir) / 'results'
        write_text(folder / f'{stem}.md', text)
        content = json.dumps(plain(record), indent=2, ensure_ascii=False)
        write_text(folder / f'{stem}.json', content + '\n')
        runner.logger.info(f'Scores and protocol, also in {folder / stem}.md and .json:\n{text}')


def _run_protocol(runner, loop, iteration: int | None) -> dict:
    model = unwrapped_model(runner.model)
    packages = dict(mmseg=mmseg, mmengine=mmengine, mmcv=mmcv, torch=torch)
    return dict(
        protocol=runner.cfg.get('protocol'),
        config=getattr(runner.cfg, 'filename', None),
        weights=dict(
            sha256=weights_sha256(model),
            checkpoint=getattr(runner, '_load_from', None),
            init_cfg=sorted(set(pretrained_files(runner.cfg.get('model')))),
            iteration=iteration,
        ),
        mixed_precision=bool(getattr(loop, 'fp16', False)),
        processes=get_world_size(),
        device=str(next(model.parameters()).device),
        versions=dict(code_mm=__version__, **{k: v.__version__ for k, v in packages.items()}),
        benchmarks={},
        published=dict(source=SOURCE, miou=PUBLISHED),
    )


def _summary(record: Mapping) -> Iterator[str]:
    """The protocol in a few lines; what is the same for all benchmarks comes once."""
    if any(key.endswith(', published') for row in record['table'] for key in row):
        yield f'Columns marked as published: {SOURCE}; not measured here.\n'
    yield f'- protocol: {record["protocol"] or "none that has a name"}'
    for name, part in record['benchmarks'].items():
        for departure in part['departures']:
            yield f'  - {name} departs from it: {departure}'
    weights = record['weights']
    origin = weights['checkpoint'] or ', '.join(weights['init_cfg']) or 'not from a file'
    when = '' if weights['iteration'] is None else f', iteration {weights["iteration"]}'
    yield f'- weights: sha256 {weights["sha256"]} (from {origin}{when})'
    for key in ('config', 'versions'):
        yield f'- {key}: {_short(record[key])}'
    settings = {name: dict(_settings(part)) for name, part in record['benchmarks'].items()}
    for key in dict.fromkeys(key for values in settings.values() for key in values):
        texts = {name: _short(values.get(key)) for name, values in settings.items()}
        if len(set(texts.values())) == 1:
            yield f'- {key}: {next(iter(texts.values()))}'
        else:
            yield f'- {key}:'
            yield from (f'  - {name}: {text}' for name, text in texts.items())


def _settings(part: Mapping) -> Iterator[tuple]:
    """What the page says of one benchmark; the JSON file has all."""
    dataset, model = part['dataset'], part['model']
    yield 'data set', {k: dataset[k] for k in ('type', 'images', 'data_root') if k in dataset}
    if 'datasets' in dataset:
        yield 'data sets', [each.get('data_root') for each in dataset['datasets']]
    yield 'resize', dataset['resize']
    for key, value in model.items():
        yield ('number of classes', len(value)) if key == 'class_names' else (key, value)


def _short(value) -> str:
    if value in (None, [], {}):
        return 'none'
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
