"""Tables of measured results, for people (markdown) and for programs (JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from statistics import fmean, stdev

from code_mm.atomic_write import write_text
from code_mm.datasets.benchmarks.table import PUBLISHED, TABLE_BENCHMARKS, benchmark_of

from .protocol import plain

Cell = str | float | int | None | Sequence[float]
SIX = 'mean of the six'
_PUBLISHED = ', published'


def result_table(
    rows: Sequence[Mapping[str, Cell]],
    digits: int | Mapping[str, int] = 1,
    bold_best: bool = False,
) -> str:
    """Write rows as a markdown table.

    Columns stand in order of appearance. A list of numbers (seeds) becomes ``mean ± standard
    deviation``, a missing value ``-``.

    Args:
        rows (Sequence[Mapping]): Column name -> text, number or list of numbers.
        digits (int | Mapping[str, int]): Decimals, for all columns or by name (1 for the others).
        bold_best (bool): Put the highest mean of each numeric column in bold.

    Returns:
        str: The table, without a final line break.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError('expected at least one row, but got none')
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = [_column(rows, name, digits, bold_best) for name in names]
    lines = [names, *zip(*columns, strict=True)]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def write_result_table(rows: Sequence[Mapping[str, Cell]], path: str | Path, **kwargs) -> str:
    """Write ``<path>.md`` and ``<path>.json`` and return the markdown.

    Args:
        rows (Sequence[Mapping]): As for :func:`result_table`; all are kept in the JSON.
        path (str | Path): Without suffix; missing folders are made.
        **kwargs: Of :func:`result_table`.
    """
    table = result_table(rows, **kwargs)
    write_text(f'{path}.md', table + '\n')
    write_text(f'{path}.json', json.dumps(plain(rows), indent=2) + '\n')
    return table


def benchmark_rows(parts: Mapping[str, Mapping], methods: Sequence[str]) -> list[dict]:
    """Rows for :func:`benchmark_table`: a benchmark each, then the means.

    Args:
        parts (Mapping): Benchmark -> its measured ``metrics`` and ``dataset``, the
            ``dataset_protocol``, which says whether published figures are about it.
        methods (Sequence[str]): Whose published mIoU to show, among those of ``PUBLISHED``.

    Returns:
        list[dict]: The mean of the six benchmarks of thesis Table 4.1 is there only when all six
        were measured, with the published averages. Published columns are there only where one of
        the six is.
    """
    known = {name: benchmark_of(part['dataset']['type']) for name, part in parts.items()}
    of_table = [name for name in parts if known[name] in TABLE_BENCHMARKS]
    methods = methods if of_table else ()
    numbers = {
        name: {k: float(value) for k, value in part['metrics'].items() if isinstance(value, Real)}
        for name, part in parts.items()
    }
    rows = []
    for name, part in parts.items():
        figures = {method: PUBLISHED[method]['miou'].get(known[name]) for method in methods}
        rows.append(_row(name, [numbers[name]], figures, part['dataset']['images']))
    if len(parts) > 1:
        rows.append(_row(f'mean of all {len(parts)}', list(numbers.values()), {}))
    if sorted(known[name] for name in of_table) == sorted(TABLE_BENCHMARKS):
        averages = {method: PUBLISHED[method]['average'] for method in methods}
        rows.append(_row(SIX, [numbers[name] for name in of_table], averages))
    return rows


def benchmark_table(rows: Sequence[Mapping]) -> str:
    """The rows as markdown: measured values with two decimals, published ones with one."""
    names = dict.fromkeys(name for row in rows for name in row)
    digits = {name: 1 if name.endswith(_PUBLISHED) else 2 for name in names}
    return result_table(rows, digits={**digits, 'images': 0})


def _row(
    name: str, metrics: Sequence[Mapping], figures: Mapping, images: int | None = None
) -> dict:
    """Means of the metrics that all have; the published figures stand next to the mIoU."""
    shared = [key for key in metrics[0] if all(key in values for values in metrics)]
    means = {key: fmean(values[key] for values in metrics) for key in shared}
    return {
        'benchmark': name,
        'images': images,
        **({'mIoU': means.pop('mIoU')} if 'mIoU' in means else {}),
        **{f'{method}{_PUBLISHED}': figure for method, figure in figures.items()},
        **means,
    }


def _column(rows: Sequence[Mapping], name: str, digits: int | Mapping, bold_best: bool) -> list:
    """The line below the heading, which aligns numbers to the right, and the cells."""
    values = [plain(row.get(name)) for row in rows]
    places = digits if isinstance(digits, int) else digits.get(name, 1)
    means = [_mean(value) for value in values]
    best = max((m for m in means if m is not None), default=None) if bold_best else None
    cells = [
        f'**{_cell(v, places)}**' if best is not None and mean == best else _cell(v, places)
        for v, mean in zip(values, means, strict=True)
    ]
    return ['---' if any(isinstance(v, str) for v in values) else '---:', *cells]


def _mean(value) -> float | None:
    numbers = value if isinstance(value, list) else [value]
    return fmean(numbers) if numbers and all(isinstance(n, Real) for n in numbers) else None


def _cell(value, digits: int) -> str:
    if isinstance(value, str):
        return value.replace('|', '\\|')
    mean = _mean(value)
    if mean is None:
        return '-'
    spread = f' ± {stdev(value):.{digits}f}' if isinstance(value, list) and len(value) > 1 else ''
    return f'{mean:.{digits}f}{spread}'
