"""How time and memory grow with batch, nouns, image size and classes: a plot.

All times are in U of one size, the batch and images of a plain setting (docs/performance.md).

Example: python tools/benchmark/scaling.py --out docs/images/performance_scaling.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import predict
import torch
import train_step
from setting import build_model, load_config, make_parser, prepare, report, run
from timing import MB, UNIT, in_units, peak_memory, precision, time_in_turns, unit_of

# Axis of the plot: values in multiples of the plain setting's (numbers of classes as they are).
AXES = {
    'pairs per batch': (0.25, 0.5, 1, 2),
    'nouns per caption': (0.5, 1, 1.5),
    'image side in training': (0.5, 1, 1.5),
    'classes in prediction': (20, 150, 400, 800),
}


def train_points(args: argparse.Namespace) -> dict:
    """U and MB of a step by axis and value; one thing changes at a time."""
    args.nouns, args.image_size, args.release_memory = 2, None, False
    step, unit = train_step.build_step(args)
    side = train_step.trained_side(step.model)
    plain = dict(batch_size=args.batch_size, nouns=2, image_size=side)
    points: dict = {}
    known: dict = {}  # the plain setting stands on every axis
    for axis, key in zip(AXES, plain, strict=False):
        for factor in AXES[axis]:
            keys = {**plain, key: max(1, round(factor * plain[key]))}
            name = tuple(keys.values())
            if name not in known:
                step.data = train_step.make_batch(argparse.Namespace(**keys), step.model)
                memory = peak_memory(step, step.device)  # and the warm-up
                memory += train_step.state_bytes(step.optim_wrapper.optimizer)
                seconds = time_in_turns({UNIT: unit, 'step': step}, args.rounds, warmup=0)
                known[name] = dict(in_units(seconds), memory_mb=memory / MB)
                print(f'{axis} {keys[key]}: {known[name]}', flush=True)
            points.setdefault(axis, {})[keys[key]] = known[name]
    return points


def class_points(args: argparse.Namespace) -> dict:
    """U and MB of a window by number of classes, with and without PAMR; the mix is on."""
    device, dtype = prepare(args)
    model = build_model(load_config(args), device).eval()
    image = torch.randn(1, 3, args.window, args.window, device=device)
    metas = [dict(img_shape=tuple(image.shape[2:]))]

    @torch.inference_mode()
    def window(pamr: bool):
        with predict.only(model.decode_head, mix=True, pamr=pamr), precision(device, dtype):
            return model.encode_decode(image, metas)

    works = {UNIT: unit_of(model.backbone.visual, image, dtype)}
    works |= {'PAMR off': lambda: window(False), 'PAMR on': lambda: window(True)}
    points = {}
    for count in AXES['classes in prediction']:
        predict.name_classes(model, [f'class {i}' for i in range(count)])
        memory = peak_memory(works['PAMR on'], device) / MB
        units = in_units(time_in_turns(works, args.rounds, warmup=0))
        points[count] = dict(units, memory_mb=memory)
        print(f'classes {count}: {points[count]}', flush=True)
    return {'classes in prediction': points}


def draw(points: dict, setting: str, path: Path) -> None:
    """One panel per axis: time on the left, memory on the right."""
    plt.switch_backend('Agg')
    figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), constrained_layout=True)
    for panel, (axis, values) in zip(panels.flat, points.items(), strict=True):
        right, x = panel.twinx(), list(values)
        by_name = {name: [point[name] for point in values.values()] for name in values[x[0]]}
        memory = by_name.pop('memory_mb')
        right.plot(x, memory, 's--', color='tab:grey', label='peak memory')
        right.set(ylim=(0, 1.2 * max(memory)), ylabel='MB above the model')
        for name, units in by_name.items():
            panel.plot(x, units, 'o-', label=name)
        unit = 'U of that window' if 'classes' in axis else 'U of the plain setting'
        panel.set(ylim=(0, 1.2 * max(map(max, by_name.values()))), xlabel=axis, ylabel=unit)
        panel.set_xlim(left=0)
        panel.legend(handles=[*panel.get_lines(), *right.get_lines()], loc='upper left')
    figure.suptitle(setting, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f'plot: {path}')


def measure(args: argparse.Namespace) -> dict:
    return dict(points={**train_points(args), **class_points(args)})


def show(args: argparse.Namespace, figures: dict) -> None:
    rows = [
        [axis, value, ', '.join(f'{x:.2f}' for x in list(point.values())[:-1]), point['memory_mb']]
        for axis, values in figures['points'].items()
        for value, point in values.items()
    ]
    report(args, 'Cost', rows, ['', 'value', 'U (PAMR off, on)', 'peak memory MB'])
    setting = f'{args.device}, {args.dtype}; one thing changes at a time'
    draw(figures['points'], setting, args.out)


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, batch_size=4, rounds=1)
    parser.add_argument('--out', type=Path, required=True, help='the plot, .png')
    parser.add_argument('--window', type=int, default=448, help='side of a window in prediction')
    return parser


if __name__ == '__main__':
    run(make_options(), measure, show)
