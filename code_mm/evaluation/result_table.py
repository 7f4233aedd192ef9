"""Tables of measured results, for people (markdown) and for programs (JSON)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

Cell = str | float | int | None | Sequence[float]


def result_table(
    rows: Sequence[Mapping[str, Cell]],
    columns: Sequence[str] | None = None,
    digits: int | Mapping[str, int] = 1,
    bold_best: bool = False,
) -> str:
    """Write rows as a markdown table.

    A list of numbers (seeds) becomes ``mean ± standard deviation``, a missing
    value ``-``.

    Args:
        rows (Sequence[Mapping]): Column name -> text, number or list of numbers.
        columns (Sequence[str], optional): Which columns, in order. Default: all,
            in order of appearance.
        digits (int | Mapping[str, int]): Decimals, for all columns or by name
            (1 for the others).
        bold_best (bool): Put the highest mean of each numeric column in bold.

    Returns:
        str: The table, without a final line break.

    Raises:
        ValueError: If there are no rows, or no row has a column asked for.
    """
    if not rows:
        raise ValueError('expected at least one row, but got none')
    known = list(dict.fromkeys(name for row in rows for name in row))
    columns = list(columns) if columns is not None else known
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ValueError(f'expected columns among {known}, but got {unknown}')

    lines = [columns, ['---' if _is_text(rows, name) else '---:' for name in columns]]
    for row in rows:
        cells = []
        for name in columns:
            places = digits if isinstance(digits, int) else digits.get(name, 1)
            cell = _cell(row.get(name), places)
            best = _best(rows, name) if bold_best else None
            cells.append(
                f'**{cell}**' if best is not None and _mean(row.get(name)) == best else cell
            )
        lines.append(cells)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def write_result_table(rows: Sequence[Mapping[str, Cell]], path: str | Path, **kwargs) -> str:
    """Write ``<path>.md`` and ``<path>.json`` and return the markdown.

    Args:
        rows (Sequence[Mapping]): As for :func:`result_table`; all are kept in the JSON.
        path (str | Path): Without suffix; missing folders are made.
        **kwargs: Of :func:`result_table`.
    """
    path = Path(path)
    table = result_table(rows, **kwargs)
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(f'{path}.md').write_text(table + '\n', encoding='utf-8')
    text = json.dumps([{k: _plain(v) for k, v in row.items()} for row in rows], indent=2)
    Path(f'{path}.json').write_text(text + '\n', encoding='utf-8')
    return table


def _plain(value: Cell):
    """Plain python types: metrics often are numpy scalars; NaN is not valid JSON."""
    if isinstance(value, str) or value is None:
        return value
    if np.ndim(value):
        return [_plain(v) for v in value]
    value = np.asarray(value).item()
    return None if value != value else value


def _mean(value: Cell) -> float | None:
    value = _plain(value)
    if isinstance(value, str) or value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    return fmean(numbers) if numbers and None not in numbers else None


def _best(rows: Sequence[Mapping[str, Cell]], name: str) -> float | None:
    means = [mean for row in rows if (mean := _mean(row.get(name))) is not None]
    return max(means, default=None)


def _is_text(rows: Sequence[Mapping[str, Cell]], name: str) -> bool:
    return any(isinstance(row.get(name), str) for row in rows)


def _cell(value: Cell, digits: int) -> str:
    if isinstance(value, str):
        return value.replace('|', '\\|')
    mean = _mean(value)
    if mean is None:
        return '-'
    spread = stdev(map(float, value)) if np.ndim(value) and len(value) > 1 else None
    return f'{mean:.{digits}f}' + ('' if spread is None else f' ± {spread:.{digits}f}')
