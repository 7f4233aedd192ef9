"""Print and save every score with all that it was measured with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook

from code_mm.datasets.benchmarks.table import PUBLISHED, SOURCE, benchmark_of
from code_mm.evaluation.named_protocols import check_protocol_name, departures
from code_mm.evaluation.protocol import dataset_protocol, model_protocol, plain, versions
from code_mm.evaluation.result_table import benchmark_rows, benchmark_table
from code_mm.registry import HOOKS
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
        self._of_run: dict = {}
        self._datasets: dict[str, dict] = {}
        self._models: dict[str, dict] = {}
        self._several = False

    def before_val_epoch(self, runner) -> None:
        self._begin(runner, runner.val_loop, runner.iter)

    def before_test_epoch(self, runner) -> None:
        # runner.iter would build the training loop, whose data a test does not need
        self._begin(runner, runner.test_loop, iteration=None)

    def before_benchmark(self, runner, benchmark) -> None:
        dataset = benchmark.dataloader.dataset
        self._note(
            runner, benchmark.name, dataset, benchmark.class_names, benchmark.class_name_file
        )

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._finish(runner, metrics or {}, f'val_iter_{runner.iter}')

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self._finish(runner, metrics or {}, 'test')

    def _begin(self, runner, loop, iteration: int | None) -> None:
        self._datasets, self._models = {}, {}
        self._several = hasattr(loop, 'benchmarks')
        if is_main_process():  # its checksum is enough: all processes have the same weights
            self._of_run = _run_protocol(runner, loop, iteration)
            check_protocol_name(self._of_run['protocol'])
        if not self._several:
            dataset = loop.dataloader.dataset
            name = benchmark_of(type(dataset).__name__) or type(dataset).__name__
            self._note(runner, name, dataset, *_class_names_of_hook(runner))

    def _note(self, runner, name: str, dataset, class_names=None, file=None) -> None:
        if is_main_process():
            self._datasets[name] = dataset_protocol(dataset)
            self._models[name] = model_protocol(unwrapped_model(runner.model))
            if 'class_names' in self._models[name]:
                origin = 'data set' if class_names is None else 'config'
                if file is not None:
                    origin = dict(file=file.source, sha256=file.sha256)
                self._models[name]['class_names_from'] = origin

    def _finish(self, runner, metrics: Mapping, stem: str) -> None:
        if not is_main_process() or not metrics:
            return
        scores = {name: self._scores_of(name, metrics) for name in self._datasets}
        # the published figures are of this protocol
        beside = self.published if self._of_run['protocol'] in (None, 'code') else ()
        rows = benchmark_rows(scores, self._datasets, beside)
        record = dict(
            self._of_run,
            benchmarks={
                name: dict(
                    metrics=scores[name],
                    dataset=dataset,
                    model=self._models[name],
                    departures=self._departures(name),
                )
                for name, dataset in self._datasets.items()
            },
            published=dict(source=SOURCE, miou=PUBLISHED),
            table=rows,
        )
        text = benchmark_table(rows) + '\n\n' + '\n'.join(_summary(record)) + '\n'
        folder = Path(runner.log_dir) / 'results'
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f'{stem}.md').write_text(text, encoding='utf-8')
        json_text = json.dumps(plain(record), indent=2, ensure_ascii=False)
        (folder / f'{stem}.json').write_text(json_text + '\n', encoding='utf-8')
        runner.logger.info(f'Scores and protocol, also in {folder / stem}.md and .json:\n{text}')

    def _departures(self, name: str) -> list[str]:
        """Where a benchmark's settings depart from the protocol that the config names."""
        protocol, dataset = self._of_run['protocol'], self._datasets[name]
        if protocol is None:
            return []
        return departures(protocol, benchmark_of(dataset['type']), dataset, self._models[name])

    def _scores_of(self, name: str, metrics: Mapping) -> dict:
        if not self._several:
            return dict(metrics)
        start = f'{name}/'
        return {k.removeprefix(start): v for k, v in metrics.items() if k.startswith(start)}


_OF_CLASSES = {'class_names', 'class_names_sha256', 'class_names_from', 'background_threshold'}


def _run_protocol(runner, loop, iteration: int | None) -> dict:
    model = unwrapped_model(runner.model)
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
        versions=versions(),
    )


def _class_names_of_hook(runner) -> tuple:
    for hook in runner.hooks:
        if isinstance(hook, ClassNamesHook) and hook.class_names is not None:
            return hook.class_names, hook.class_name_file
    return None, None


def _summary(record: Mapping) -> Iterator[str]:
    """The protocol in a few lines; what is the same for all benchmarks comes once."""
    if any(key.endswith(', published') for row in record['table'] for key in row):
        yield f'Columns marked as published: {SOURCE}; not measured here.\n'
    yield f'- protocol: {record["protocol"] or "none that has a name"}'
    for name, parts in record['benchmarks'].items():
        for departure in parts['departures']:
            yield f'  - {name} departs from it: {departure}'
    weights = record['weights']
    origin = weights['checkpoint'] or ', '.join(weights['init_cfg']) or 'not from a file'
    when = '' if weights['iteration'] is None else f', iteration {weights["iteration"]}'
    yield f'- weights: sha256 {weights["sha256"]} (from {origin}{when})'
    yield f'- config: {record["config"]}'
    yield '- versions: ' + ', '.join(f'{k} {v}' for k, v in record['versions'].items())
    of_all = [
        {
            **{k: v for k, v in parts['model'].items() if k not in _OF_CLASSES},
            'resize': parts['dataset']['resize'],
        }
        for parts in record['benchmarks'].values()
    ]
    common = {k: v for k, v in of_all[0].items() if all(one.get(k) == v for one in of_all)}
    for key, value in common.items():
        yield f'- {key}: {_short(value)}'
    for (name, parts), settings in zip(record['benchmarks'].items(), of_all, strict=True):
        dataset, model = parts['dataset'], parts['model']
        roots = [str(part.get('data_root')) for part in dataset.get('datasets') or [dataset]]
        line = f'- {name}: {dataset["type"]}, {dataset["images"]} images in {", ".join(roots)}'
        if 'class_names' in model:
            origin = model['class_names_from']
            if isinstance(origin, Mapping):
                origin = f'file {origin["file"]} (sha256 {origin["sha256"]})'
            else:
                origin = f'the {origin}'
            line += f', {len(model["class_names"])} class names (sha256 '
            line += f'{model["class_names_sha256"]}) from {origin}'
            line += f', background {model["background_threshold"]}'
        own = {key: value for key, value in settings.items() if key not in common}
        yield line + ''.join(f', {key} {_short(value)}' for key, value in own.items())


def _short(value) -> str:
    return 'none' if value in (None, [], {}) else json.dumps(plain(value), ensure_ascii=False)
