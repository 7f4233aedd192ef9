"""Options and config handling that tools/train.py and tools/test.py share."""

import argparse
import os
from pathlib import Path

from mmengine.config import Config, DictAction

# Nothing heavy is imported above: MIM runs `train.py -h` before every training.


def make_parser(description: str) -> argparse.ArgumentParser:
    """The options of MMSegmentation's tools that training and testing share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs, metrics and checkpoints')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override keys of the config, key=value; lists as key="[a,b]" or key=a,b, '
        'nested ones as key="[(a,b),(c,d)]", without white space',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes are started',
    )
    # torch.distributed.launch passes --local-rank to the script.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config, merges the options and checks the names of its keys.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If a key is misspelt.
    """
    # A checkpoint is data from elsewhere: refuse one that needs unsafe pickle, where MMEngine
    # would fall back to it. Whoever trusts a file sets the variable to 0.
    os.environ.setdefault('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))

    from code_mm.engine.config_check import check_config, check_options

    if not Path(args.config).is_file():
        raise FileNotFoundError(f'expected a config file, but {args.config!r} does not exist')
    cfg = Config.fromfile(args.config)
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    check_config(cfg)
    cfg.launcher = args.launcher
    # in this order: command line, config, name of the config
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def build_runner(cfg: Config, whole_checkpoint: bool = True):
    """Joins this process to the others, then builds the runner that the config asks for.

    Args:
        cfg: The config, with ``launcher`` set.
        whole_checkpoint: A checkpoint must hold every parameter; False where training may
            start from other weights.
    """
    from mmengine.runner import Runner
    from mmseg.registry import RUNNERS

    from code_mm.engine.cpu_processes import start_cpu_processes
    from code_mm.engine.hooks import CheckpointFitHook

    if 'model' not in cfg:
        raise ValueError(
            f'expected a model in {cfg.filename}, but got none: a part of configs only?'
        )
    start_cpu_processes(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.register_hook(CheckpointFitHook(strict=whole_checkpoint))
    return runner
