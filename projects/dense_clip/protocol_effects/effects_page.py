"""The tables of docs/protocol.md, from docs/protocol.json."""

from __future__ import annotations

from collections.abc import Mapping

from projects.dense_clip.protocol_effects.effects import GROUPS, PLAIN
from projects.shapes_world.study.report import markdown

COLUMNS = {
    'mIoU': ('with background', 1),
    'foreground': ('without', 1),
    'object_auc': ('object AUC', 3),
}


def blocks(results: Mapping) -> dict[str, str]:
    """All tables: name -> markdown."""
    return {
        'setting': _setting(results),
        'summary': _summary(results['models']),
        **{group: _table(results['models'], group) for group in GROUPS},
    }


def _setting(results: Mapping) -> str:
    data = results['data']
    words = (
        f'Measured by `{results["command"]}` on {data["images"]} images of the shapes world '
        f'(level {data["level"]}, seed {data["seed"]}):\n\n'
    )
    rows = []
    for title, model in results['models'].items():
        (plain,) = (row['metrics'] for row in model['rows'] if row['name'] == PLAIN)
        cells = [_number(plain[key], digits) for key, (_, digits) in COLUMNS.items()]
        rows.append([title, f'`{model["config"]}`', *cells])
    return words + markdown(['model', 'config', *(name for name, _ in COLUMNS.values())], rows, 2)


def _summary(models: Mapping) -> str:
    """Lowest and highest change of each group, by model."""
    columns = [(title, key) for title in models for key in ('mIoU', 'foreground')]
    rows = []
    for group, what in GROUPS.items():
        cells = []
        for title, key in columns:
            rows_of_group = (row for row in models[title]['rows'] if row['group'] == group)
            found = [row['change'][key] for row in rows_of_group if row['change']]
            ends = dict.fromkeys(f'{end(found):+.1f}' for end in (min, max)) if found else '-'
            cells.append(' … '.join(ends))
        rows.append([what, *cells])
    names = [f'{title}, {COLUMNS[key][0]}' for title, key in columns]
    return markdown(['what is changed', *names], rows, 1)


def _table(models: Mapping, group: str) -> str:
    head = [f'{title}, {name}' for title in models for name, _ in COLUMNS.values()]
    of_group = [
        [row for row in model['rows'] if row['group'] == group] for model in models.values()
    ]
    rows = [
        [
            *(same[0]['name'], same[0]['against']),
            *(_cell(row, key, digits) for row in same for key, (_, digits) in COLUMNS.items()),
        ]
        for same in zip(*of_group, strict=True)
    ]
    return markdown(['protocol', 'compared with', *head], rows, 2)


def _cell(row: Mapping, key: str, digits: int) -> str:
    if row['metrics'] is None:
        return '-'
    text = f'{_number(row["metrics"][key], digits)} ({row["change"][key]:+.{digits}f}'
    if key == 'mIoU':
        text += f' ± {row["error"]:.1f}'
    return text + ')'


def _number(value: float | None, digits: int) -> str:
    return '-' if value is None else f'{value:.{digits}f}'
