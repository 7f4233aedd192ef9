"""The tables of docs/protocol.md, from docs/protocol.json."""

from __future__ import annotations

from collections.abc import Mapping

from projects.dense_clip.protocol_effects.effects import GROUPS, PLAIN

COLUMNS = {
    'mIoU': ('with background', 1),
    'foreground': ('without', 1),
    'object_auc': ('object AUC', 3),
}
NOT_APPLICABLE = '-'


def blocks(results: Mapping) -> dict[str, str]:
    """All tables: name -> markdown."""
    return {
        'setting': _setting(results),
        'summary': _summary(results),
        **{group: _table(results, group) for group in GROUPS},
    }


def _setting(results: Mapping) -> str:
    data = results['data']
    lines = [
        f'Measured by `{results["command"]}` on {data["images"]} images of the shapes world '
        f'(level {data["level"]}, seed {data["seed"]}):',
        '',
    ]
    rows = []
    for title, model in results['models'].items():
        plain = next(row for row in model['rows'] if row['name'] == PLAIN)['metrics']
        cells = [_number(plain[key], digits) for key, (_, digits) in COLUMNS.items()]
        rows.append([title, f'`{model["config"]}`', *cells])
    names = [name for name, _ in COLUMNS.values()]
    return '\n'.join([*lines, '']) + _markdown(['model', 'config', *names], rows, 2)


def _summary(results: Mapping) -> str:
    """Lowest and highest change of each group, by model."""
    rows = []
    for group, title in GROUPS.items():
        cells = []
        for model in results['models'].values():
            for key in ('mIoU', 'foreground'):
                found = [
                    r['change'][key] for r in model['rows'] if r['group'] == group if r['change']
                ]
                cells.append(_range(found))
        rows.append([title, *cells])
    names = [
        f'{title}, {COLUMNS[key][0]}'
        for title in results['models']
        for key in ('mIoU', 'foreground')
    ]
    return _markdown(['what is changed', *names], rows, 1)


def _range(changes: list[float]) -> str:
    if not changes:
        return NOT_APPLICABLE
    return ' … '.join(dict.fromkeys(f'{value:+.1f}' for value in (min(changes), max(changes))))


def _table(results: Mapping, group: str) -> str:
    models = results['models']
    head = ['protocol', 'compared with']
    head += [f'{title}, {name}' for title in models for name, _ in COLUMNS.values()]
    by_name = {
        title: {row['name']: row for row in model['rows']} for title, model in models.items()
    }
    names = [r['name'] for r in next(iter(models.values()))['rows'] if r['group'] == group]
    rows = []
    for name in names:
        of_models = [by_name[title][name] for title in models]
        cells = [name, of_models[0]['against']]
        for row in of_models:
            cells += [_cell(row, key, digits) for key, (_, digits) in COLUMNS.items()]
        rows.append(cells)
    return _markdown(head, rows, 2)


def _cell(row: Mapping, key: str, digits: int) -> str:
    if row['metrics'] is None:
        return NOT_APPLICABLE
    text = f'{_number(row["metrics"][key], digits)} ({row["change"][key]:+.{digits}f}'
    if key == 'mIoU':
        text += f' ± {row["error"]:.1f}'
    return text + ')'


def _number(value: float | None, digits: int) -> str:
    return NOT_APPLICABLE if value is None else f'{value:.{digits}f}'


def _markdown(head: list[str], rows: list[list[str]], texts: int) -> str:
    rule = ['---'] * texts + ['---:'] * (len(head) - texts)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [head, rule, *rows])
