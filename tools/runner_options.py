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
    parser.add_argument('--threads', type=int, help="of this process, for torch's operators")
    # torch.distributed.launch passes --local-rank to the script.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help='set by launchers'
    )
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the options; the Runner will check the keys."""
    # before torch: code_mm has OpenMP's threads wait without spinning
    from code_mm.engine.config_check import check_options, read_config

    import torch  # isort: skip

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    threads = getattr(args, 'threads', None)  # the tools of analysis have no such option
    if threads is not None:
        if threads < 1:
            raise ValueError(f'expected --threads >= 1, but got {threads}')
        torch.set_num_threads(threads)
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'expected a config file, but {args.config!r} does not exist')
    cfg = read_config(args.config)
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    cfg.launcher = args.launcher
    # in this order: command line, config, name of the config
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return cfg


def build_runner(cfg: Config):
    from mmengine.runner import Runner
    from mmseg.registry import RUNNERS

    if 'model' not in cfg:
        raise ValueError(
            f'expected a model in {cfg.filename}, but got none: a part of configs only?'
        )
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
