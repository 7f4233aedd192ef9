"""What the benchmarks share: options, the model of a config, tables, and a second checkout."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import timing
import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table

from code_mm.atomic_write import write_text
from code_mm.engine.config_check import check_options
from code_mm.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / '_base_'
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)


def make_parser(description: str, batch_size: int, rounds: int) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=description, formatter_class=raw, allow_abbrev=False
    )
    config = str(CONFIGS / 'models' / 'code_vit-b16.py')
    parser.add_argument('--config', default=config, help='config with the model; ViT-B/16')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:0 ...')
    parser.add_argument('--dtype', choices=sorted(DTYPES), default='fp32', help='autocast type')
    parser.add_argument('--batch-size', type=positive, default=batch_size, help=f'{batch_size}')
    parser.add_argument('--rounds', type=positive, default=rounds, help='repeats; medians of them')
    parser.add_argument('--threads', type=positive, default=2, help='of the CPU')
    parser.add_argument(
        '--processor-time',
        action='store_true',
        help='for a CPU that others use too: count processor time; needs --threads 1',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the figures there')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override keys of the config, key=value'
    )
    parser.add_argument(
        '--against',
        type=Path,
        metavar='CHECKOUT',
        help='run this benchmark of another checkout and of this one in turn, and compare',
    )
    parser.add_argument('--turns', type=positive, default=3, help='of --against')
    return parser


def positive(text: str) -> int:
    """An integer >= 1 of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected an integer >= 1, but got {text!r}')
    return int(text)


def run(parser: argparse.ArgumentParser, measure: Callable, show: Callable) -> None:
    """Run a benchmark; a user's mistake ends it with one line and status 2.

    Args:
        parser (argparse.ArgumentParser): That of :func:`make_parser`.
        measure (Callable): Options -> figures.
        show (Callable): Options, figures -> None; prints them.
    """
    args = parser.parse_args()
    try:
        figures = compare(args) if args.against else measure(args)
        if not args.against:
            show(args, figures)
        if args.json:
            write_text(args.json, json.dumps({**figures, 'setting': setting_of(args)}, indent=1))
            print(f'figures: {args.json}')
    except (ValueError, TypeError, OSError) as error:
        parser.exit(2, f'{parser.prog}: {error}\n')


def compare(args: argparse.Namespace) -> dict:
    """Ratios of this checkout's figures to the other's, each run as a process of its own in turn.

    Each gets the options of this command, and its own default config. A run that fails is a
    ValueError.
    """
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for option in ('--against', '--turns', '--json'):
        ours.add_argument(option)
    _, options = ours.parse_known_args(sys.argv[1:])
    script = Path('tools') / 'benchmark' / Path(sys.argv[0]).name
    checkouts = [args.against.resolve(), ROOT]
    found: dict[Path, list[dict]] = {root: [] for root in checkouts}
    for turn in range(args.turns):
        for root in checkouts if turn % 2 == 0 else checkouts[::-1]:
            found[root].append(_figures_of(root, script, options))
            print(f'{turn + 1} of {args.turns}, {root}: {found[root][-1]}', flush=True)
    before, now = found.values()
    result, rows = {}, []
    for name in [name for name in now[0] if before[0].get(name)]:
        old, new = ([figures[name] for figures in turns] for turns in (before, now))
        ratios = [b / a for a, b in zip(old, new, strict=True)]
        medians = [statistics.median(values) for values in (old, new, ratios)]
        result[name] = dict(before=medians[0], now=medians[1], ratio=medians[2], ratios=ratios)
        of_turns = ' '.join(f'{ratio:.3f}' for ratio in ratios)
        rows.append([name, *(f'{x:.4g}' for x in medians), of_turns])
    columns = ['figure', str(args.against), 'this checkout', 'ratio', 'of every turn']
    report(args, f'{script.name}, {args.turns} turns', rows, columns)
    return result


def _figures_of(root: Path, script: Path, options: list[str]) -> dict[str, float]:
    """The numbers of a checkout's own benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'figures.json')
        command = [sys.executable, root / script, *options, '--json', file]
        environment = {**os.environ, 'PYTHONPATH': str(root)}
        process = subprocess.run(command, cwd=root, env=environment, capture_output=True)
        if process.returncode:
            raise ValueError(f'{root / script} failed: {process.stderr.decode()[-2000:]}')
        figures = json.loads(file.read_text())
    return {name: value for name, value in figures.items() if isinstance(value, float)}


def prepare(args: argparse.Namespace) -> tuple[torch.device, torch.dtype]:
    """Set threads, seed and mmseg's scope; give the device and the dtype.

    Raises:
        ValueError: There is no such device.
    """
    init_default_scope('mmseg')
    MMLogger.get_instance('benchmark').setLevel('ERROR')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    try:
        device = torch.zeros(1, device=args.device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'expected a --device of this machine, but got {args.device!r}: {reason}'
        ) from error
    if args.processor_time:
        if args.threads != 1 or device.type != 'cpu':
            raise ValueError(
                'expected --threads 1 and --device cpu with --processor-time, since threads that '
                f'wait count too, but got {args.threads} and {args.device}'
            )
        timing.clock = time.process_time
    return device, DTYPES[args.dtype]


def load_config(args: argparse.Namespace) -> Config:
    """The config with its options merged; CLIP's weights stay random."""
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'expected a config file, but {args.config!r} does not exist')
    cfg = Config.fromfile(args.config)
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.model.backbone.init_cfg = None
    return cfg


def build_model(cfg: Config, device: torch.device) -> torch.nn.Module:
    """The model with random weights."""
    return MODELS.build(cfg.model).to(device)


def report(args: argparse.Namespace, title: str, rows: list, columns: list) -> None:
    """Print a table of a benchmark."""
    print_table(f'{title}\n{args.device}, {args.dtype}, batch {args.batch_size}', rows, columns)


def print_table(title: str, rows: list, columns: list) -> None:
    table = Table(title=title)
    for i, column in enumerate(columns):
        table.add_column(column, justify='right' if i else 'left')
    for row in rows:
        table.add_row(*(f'{x:.3g}' if isinstance(x, float) else str(x) for x in row))
    Console(width=100).print(table)


def machine_name() -> str:
    """The processor, and how many cores of it."""
    info = Path('/proc/cpuinfo')
    names = re.findall('^model name.*: (.*)', info.read_text(), re.M) if info.is_file() else []
    return f'{names[0] if names else platform.machine()}, {os.cpu_count()} cores'


def setting_of(args: argparse.Namespace) -> dict:
    """Options, machine and versions, so that figures can be told apart later."""
    git = ['git', '-C', ROOT, 'describe', '--always', '--dirty']
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    machine = machine_name()
    if args.device.startswith('cuda'):
        machine = torch.cuda.get_device_name(args.device)
    return dict(
        {name: str(value) for name, value in vars(args).items() if name != 'json'},
        machine=machine,
        python=platform.python_version(),
        torch=torch.__version__,
        commit=commit or 'unknown',
    )
