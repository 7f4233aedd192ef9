"""Measured scores of several benchmarks, the published ones beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

from .published import PUBLISHED, TABLE_BENCHMARKS, benchmark_of
from .result_table import result_table

SIX = 'mean of the six'


def benchmark_rows(
    metrics: Mapping[str, Mapping], datasets: Mapping[str, Mapping], methods: Sequence[str]
) -> list[dict]:
    """Rows for ``result_table``: a benchmark each, then the means.

    Args:
        metrics (Mapping): Benchmark -> its measured metrics.
        datasets (Mapping): Benchmark -> its ``dataset_protocol``, which says whether published
            figures are about it.
        methods (Sequence[str]): Whose published mIoU to show, among those of ``PUBLISHED``.

    Returns:
        list[dict]: The mean of the six benchmarks of thesis Table 4.1 is there only when all six
        were measured, with the published averages.
    """
    published = {name: benchmark_of(datasets[name]['type']) for name in metrics}
    rows = []
    for name, values in metrics.items():
        figures = {method: PUBLISHED[method]['miou'].get(published[name]) for method in methods}
        rows.append(_row(name, _numbers(values), figures, images=datasets[name]['images']))
    if len(metrics) > 1:
        rows.append(_row(f'mean of all {len(metrics)}', _mean(list(metrics.values())), {}))
    of_table = [name for name, known in published.items() if known in TABLE_BENCHMARKS]
    if sorted(published[name] for name in of_table) == sorted(TABLE_BENCHMARKS):
        averages = {method: PUBLISHED[method]['average'] for method in methods}
        rows.append(_row(SIX, _mean([metrics[name] for name in of_table]), averages))
    if not any(known in TABLE_BENCHMARKS for known in published.values()):
        rows = [{k: v for k, v in row.items() if not k.endswith(', published')} for row in rows]
    return rows


def benchmark_table(rows: Sequence[Mapping]) -> str:
    """The rows as markdown: measured values with two decimals, published ones with one."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    digits = {name: 1 if name.endswith(', published') else 2 for name in columns}
    return result_table(rows, columns=columns, digits={**digits, 'images': 0})


def _row(name: str, values: Mapping, figures: Mapping, images: int | None = None) -> dict:
    """The published figures stand next to the mIoU that was measured."""
    others = {key: value for key, value in values.items() if key != 'mIoU'}
    return {
        'benchmark': name,
        'images': images,
        **({'mIoU': values['mIoU']} if 'mIoU' in values else {}),
        **{f'{method}, published': figures.get(method) for method in figures},
        **others,
    }


def _numbers(values: Mapping) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if isinstance(value, Real)}


def _mean(metrics: Sequence[Mapping]) -> dict[str, float]:
    numbers = [_numbers(values) for values in metrics]
    shared = [key for key in numbers[0] if all(key in values for values in numbers)]
    return {key: sum(values[key] for values in numbers) / len(numbers) for key in shared}
