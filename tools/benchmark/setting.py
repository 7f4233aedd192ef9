"""What the benchmarks share: options, the model of a config with random weights, the report."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / '_base_' / 'models' / 'code_vit-b16.py'
DTYPES = dict(fp32='float32', bf16='bfloat16', fp16='float16')


def make_parser(description: str, batch_size: int, rounds: int) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--config', default=str(CONFIG), help='config with the model; ViT-B/16')
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
    parser.add_argument('--cfg-options', nargs='+', help='override keys of the config, key=value')
    return parser


def positive(text: str) -> int:
    """An integer >= 1 of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected an integer >= 1, but got {text!r}')
    return int(text)


def prepare(args: argparse.Namespace):
    """Threads, seed and mmseg's scope; the device and the dtype.

    Raises:
        ValueError: There is no such device.
    """
    import timing
    import torch
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    import code_mm.models  # noqa: F401

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
    return device, getattr(torch, DTYPES[args.dtype])


def load_config(args: argparse.Namespace):
    """The config with its options merged; CLIP's weights stay random."""
    from mmengine.config import Config, DictAction

    from code_mm.engine.config_check import check_options

    if not Path(args.config).is_file():
        raise FileNotFoundError(f'expected a config file, but {args.config!r} does not exist')
    cfg = Config.fromfile(args.config)
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    options = parser.parse_args(['--cfg-options', *args.cfg_options]) if args.cfg_options else None
    check_options(cfg, options and options.cfg_options)
    cfg.merge_from_dict(options.cfg_options if options else {})
    cfg.model.backbone.init_cfg = None
    return cfg


def build_model(cfg, device):
    """The model with random weights."""
    from code_mm.registry import MODELS

    return MODELS.build(cfg.model).to(device)


def report(args: argparse.Namespace, title: str, rows: list, columns: list) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f'{title}\n{args.device}, {args.dtype}, batch {args.batch_size}')
    for i, column in enumerate(columns):
        table.add_column(column, justify='right' if i else 'left')
    for row in rows:
        table.add_row(*(f'{x:.3g}' if isinstance(x, float) else str(x) for x in row))
    Console(width=100).print(table)


def write_json(args: argparse.Namespace, figures: dict) -> None:
    """Write the figures where --json says, with the setting they belong to."""
    if args.json is None:
        return
    args.json.parent.mkdir(parents=True, exist_ok=True)
    whole = {**figures, 'setting': setting_of(args)}
    args.json.write_text(json.dumps(whole, indent=1) + '\n')
    print(f'figures: {args.json}')


def setting_of(args: argparse.Namespace) -> dict:
    """Options, machine and versions, so that figures can be told apart later."""
    import torch

    import code_mm

    source = Path(code_mm.__file__).parents[1]
    git = ['git', '-C', str(source), 'describe', '--always', '--dirty']
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    options = {name: str(value) for name, value in vars(args).items() if name != 'json'}
    return dict(
        options, machine=_machine(args), python=platform.python_version(), torch=torch.__version__,
        commit=commit or 'unknown',
    )  # fmt: skip


def _machine(args: argparse.Namespace) -> str:
    import torch

    if args.device.startswith('cuda'):
        return torch.cuda.get_device_name(args.device)
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return f'{names[0]}, {len(names)} cores' if names else platform.processor() or 'unknown'


def run_or_explain(main) -> None:
    """Run a benchmark; a user's mistake ends it with one line and status 2."""
    import sys

    try:
        main()
    except (ValueError, TypeError, OSError) as error:
        print(f'{Path(sys.argv[0]).name}: {error}', file=sys.stderr)
        sys.exit(2)
