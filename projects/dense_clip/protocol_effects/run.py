"""Measures what the protocol of an evaluation moves, and writes docs/protocol.json and .md.

    python projects/dense_clip/protocol_effects/run.py
    python projects/dense_clip/protocol_effects/run.py \
        --model TCL projects/tcl/configs/tcl_shapes-hard.py tcl.pth

What was scored before with the same config and weights is not scored again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.progress import Progress

from code_mm.atomic_write import write_text
from projects.dense_clip.protocol_effects.effects import EFFECTS, Effect
from projects.dense_clip.protocol_effects.effects_page import blocks
from projects.dense_clip.protocol_effects.measure import (
    changed,
    difference_error,
    has_learnt_contexts,
    load_config,
    measure,
)
from projects.shapes_world.runs import ROOT
from projects.shapes_world.study.report import fill

NO_CHECKPOINT = 'none'
# The demo's checkpoint is there after `make demo`.
MODELS = (
    ('MaskCLIP', 'projects/shapes_world/configs/maskclip_shapes-hard.py', NO_CHECKPOINT),
    (
        'CoDe',
        'projects/shapes_world/configs/code_shapes-hard.py',
        'work_dirs/shapes_demo/seed_0/train/iter_600.pth',
    ),
)


def parse_args(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--model',
        dest='models',
        nargs=3,
        action='append',
        metavar=('TITLE', 'CONFIG', 'CHECKPOINT'),
        help="a model on the shapes world; CHECKPOINT 'none' where the config names all weights. "
        "Default: MaskCLIP, and CoDe with the demo's first checkpoint",
    )
    parser.add_argument('--data', default='data/shapes_world', help='folder of the shapes world')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/protocol_effects'))
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder to write to')
    parser.add_argument('--only', nargs='+', help='groups of changes; the page is then left alone')
    return parser.parse_args(words)


def check_files(models: list[tuple[str, str, str]], data: str) -> None:
    """Raise a FileNotFoundError that says how to make what is missing."""
    if not Path(data, 'made_by.json').is_file():
        raise FileNotFoundError(
            f'expected a shapes world in {data}, but there is no made_by.json; make it with '
            'make demo or projects/shapes_world/make_world.py'
        )
    for title, config, checkpoint in models:
        for path in (config, *([] if checkpoint == NO_CHECKPOINT else [checkpoint])):
            if not Path(path).is_file():
                raise FileNotFoundError(
                    f'expected a file for {title}, but {path} does not exist; make demo trains '
                    'CoDe, --model names other models'
                )


def measure_model(config: str, checkpoint: str, args: argparse.Namespace, effects, advance) -> dict:
    """All effects on one model, in the order of ``effects``."""
    weights = None if checkpoint == NO_CHECKPOINT else checkpoint
    folders = {e.name: args.work_dir / Path(config).stem / _file_name(e.name) for e in effects}
    found, rows = {}, []
    for effect in effects:
        cfg = load_config(config, args.data, effect)
        row = dict(name=effect.name, group=effect.group, against=effect.against)
        if effect.templates and has_learnt_contexts(cfg):
            row.update(metrics=None, change=None, error=None, changed=None)
        else:
            found[effect.name] = now = measure(cfg, weights, folders[effect.name])
            before = found[effect.against]
            areas = [folders[name] / 'areas.npz' for name in (effect.name, effect.against)]
            row.update(
                metrics=now['metrics'],
                change={
                    key: round(value - before['metrics'][key], 4)
                    for key, value in now['metrics'].items()
                },
                error=round(difference_error(*areas), 4),
                changed=changed(before['protocol'], now['protocol']),
            )
        rows.append(row)
        advance(effect.name)
    plain = next(iter(found.values()))
    shared = {key: plain[key] for key in ('weights', 'versions', 'protocol')}
    return dict(config=config, checkpoint=checkpoint, **shared, rows=rows)


def chosen_effects(only: list[str] | None) -> list[Effect]:
    """Effects of some groups, and those that they are compared with."""
    if only is None:
        return list(EFFECTS)
    groups = {effect.group for effect in EFFECTS}
    if unknown := sorted(set(only) - groups):
        raise ValueError(f'expected --only among {sorted(groups)}, but got {unknown}')
    names = {e.name for e in EFFECTS if e.group in only}
    while more := {e.against for e in EFFECTS if e.name in names} - names:
        names |= more
    return [effect for effect in EFFECTS if effect.name in names]


def _file_name(name: str) -> str:
    return ''.join(c if c.isalnum() or c in '.-' else '_' for c in name)


def main(words: list[str] | None = None) -> None:
    args = parse_args(words)
    models = args.models or MODELS
    effects = chosen_effects(args.only)
    check_files(models, args.data)

    results = {}
    with Progress() as progress:
        task = progress.add_task('', total=len(models) * len(effects))
        for title, config, checkpoint in models:

            def advance(name: str, title: str = title) -> None:
                progress.update(task, advance=1, description=f'{title}, {name}')

            results[title] = measure_model(config, checkpoint, args, effects, advance)
    made_by = json.loads(Path(args.data, 'made_by.json').read_text())
    images = next(iter(results.values()))['protocol']['dataset']['images']
    options = ' '.join(words if words is not None else sys.argv[1:])
    record = dict(
        command=f'python projects/dense_clip/protocol_effects/run.py {options}'.strip(),
        data=dict(images=images, level=made_by['level'], seed=made_by.get('seed')),
        models=results,
    )
    text = json.dumps(record, indent=1, ensure_ascii=False) + '\n'
    if args.only:
        path = args.work_dir / 'some.json'
        write_text(path, text)
        print(f'results: {path}')
        return
    filled = fill(
        (ROOT / 'docs/protocol.md').read_text(encoding='utf-8'), blocks(record), 'effects'
    )
    write_text(args.docs / 'protocol.md', filled)
    write_text(args.docs / 'protocol.json', text)
    print(f'page: {args.docs / "protocol.md"}, results: {args.docs / "protocol.json"}')


if __name__ == '__main__':
    os.chdir(ROOT)
    main()
