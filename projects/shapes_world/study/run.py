"""The study: trains and reads every variant on every seed, then writes docs/study.json and .md.

    make study                                   # everything, ~3 h on two cores
    python projects/shapes_world/study/run.py --only segmenter_only code --seeds 0 1 2 3 4
    python projects/shapes_world/study/run.py --only maskclip  # the page anew, of all runs

What is done is not done again, whenever it was stopped: runs go on at their last checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import time
from pathlib import Path

from mmengine.config import Config

from code_mm.atomic_write import write_text
from code_mm.datasets.preparation.parallel_jobs import run_jobs
from projects.shapes_world.runs import ROOT, make_world, run_command
from projects.shapes_world.study.report import write_report
from projects.shapes_world.study.variants import VARIANTS, Variant


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [variant.name for variant in VARIANTS]
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--only', nargs='+', choices=names, metavar='VARIANT')
    parser.add_argument('--iters', type=int, default=500, help='training iterations of each run')
    parser.add_argument('--batch-size', type=int, default=16)
    parser.add_argument('--train', type=int, default=6000, help='captioned images of each world')
    parser.add_argument('--val', type=int, default=300, help='labelled images of each world')
    parser.add_argument(
        '--jobs', type=int, default=os.cpu_count(), help='runs at a time; 1 on a single GPU'
    )
    parser.add_argument('--threads', type=int, default=1, help='threads of each run')
    parser.add_argument('--data', type=Path, default=Path('data/shapes_study'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/shapes_study'))
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='where the page is')
    return parser.parse_args()


def lock(work_dir: Path):
    """Keep the work folder to this process: two studies at once would write the same files."""
    work_dir.mkdir(parents=True, exist_ok=True)
    file = (work_dir / '.lock').open('w')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(
            f'another study is running in {work_dir}; wait for it or choose another --work-dir'
        ) from None
    return file


def check_settings(args: argparse.Namespace) -> None:
    """Refuse a work folder whose runs were made with other settings, or their rows would mix."""
    wanted = {key: getattr(args, key) for key in ('iters', 'batch_size', 'train', 'val')}
    path = ROOT / args.work_dir / 'settings.json'
    if not path.exists():
        write_text(path, json.dumps(wanted) + '\n')
    made = json.loads(path.read_text())
    if made != wanted:
        raise SystemExit(
            f'{path.parent} holds runs with {made}, but {wanted} are asked for; choose another '
            '--work-dir'
        )


def make_worlds(args: argparse.Namespace) -> None:
    for level in sorted({variant.level for variant in chosen(args)}):
        log = ROOT / args.work_dir / f'world_{level}.log'
        make_world(args.data / level, log, level, args.train, args.val)


def do_run(job: tuple[argparse.Namespace, Variant, int]) -> float:
    """Train one seed of a variant, as far as that is not done, and read it: seconds taken."""
    args, variant, seed = job
    started = time.monotonic()
    folder = run_folder(args, variant, seed)
    data = args.data / variant.level
    checkpoint = train(args, variant, seed, folder, data) if variant.trained else 'none'
    out = folder / 'readings.json'
    if not out.exists():
        command = [sys.executable, 'projects/shapes_world/study/readings.py', variant.config]
        command += [checkpoint, out, '--data', data, '--level', variant.level]
        command += ['--options', repr(variant.options)]
        if 'readings' in variant.groups:
            command.append('--mix')
        run_command(folder / 'readings.log', *command, OMP_NUM_THREADS=str(args.threads))
    return time.monotonic() - started


def train(args: argparse.Namespace, variant: Variant, seed: int, folder: Path, data: Path) -> str:
    """The checkpoint of a finished training run."""
    finished = folder / 'finished'
    if not finished.exists():
        iters = args.iters * variant.length
        options = {
            **variant.options,
            'randomness.seed': seed,
            'train_dataloader.dataset.data_root': str(data),
            'train_dataloader.batch_size': args.batch_size,
            'train_cfg.max_iters': iters,
        }
        config = folder / 'config.py'
        folder.mkdir(parents=True, exist_ok=True)
        write_config(ROOT / variant.config, options, iters, config)
        command = [sys.executable, 'tools/train.py', config, '--work-dir', folder, '--resume']
        run_command(folder / 'train.log', *command, OMP_NUM_THREADS=str(args.threads))
        finished.touch()
    return (folder / 'last_checkpoint').read_text().strip()


def write_config(base: Path, options: dict, iters: int, path: Path) -> None:
    """The whole config of a run, so that it can be trained again by itself."""
    cfg = Config.fromfile(base, import_custom_modules=False)  # the run itself imports them
    cfg.merge_from_dict(options)
    warm_up, decay = cfg.param_scheduler
    warm_up.end = decay.begin = min(warm_up.end, iters // 3)
    decay.end = iters
    # no validation in between and no pictures: the study reads the last weights
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'CoDecompositionHook']
    for hook in cfg.custom_hooks:
        if hook.type == 'TrainingStagesHook' and len(hook.stages) > 1:
            hook.stages[1].begin = iters // 3
    cfg.default_hooks.checkpoint.interval = max(iters // 4, 1)
    cfg.dump(path)


def chosen(args: argparse.Namespace) -> list[Variant]:
    return [variant for variant in VARIANTS if not args.only or variant.name in args.only]


def all_runs(args: argparse.Namespace) -> list[tuple[argparse.Namespace, Variant, int]]:
    """Jobs of :func:`do_run`, seed after seed: stopped early, seeds are still matched."""
    variants = [variant for variant in chosen(args) if args.only or variant.seeds != 0]
    jobs = [(args, variant, 0) for variant in variants if not variant.trained]
    for number, seed in enumerate(args.seeds):
        for variant in variants:
            enough = not args.only and variant.seeds is not None and number >= variant.seeds
            if variant.trained and not enough:
                jobs.append((args, variant, seed))
    return jobs


def run_folder(args: argparse.Namespace, variant: Variant, seed: int) -> Path:
    part = f'seed_{seed}' if variant.trained else 'untrained'
    return ROOT / args.work_dir / variant.name / part


def finished_runs(args: argparse.Namespace) -> dict[str, list[tuple[int, Path]]]:
    """Variant's name -> seed and folder of every run that was read, now or earlier."""
    found = {}
    for variant in VARIANTS:
        read = (ROOT / args.work_dir / variant.name).glob('*/readings.json')
        folders = {path.parent.name.removeprefix('seed_'): path.parent for path in read}
        found[variant.name] = sorted(
            (int(seed) if variant.trained else 0, folder) for seed, folder in folders.items()
        )
    return found


def main() -> None:
    args = parse_args()
    locked = lock(ROOT / args.work_dir)  # noqa: F841  as long as it is open
    check_settings(args)
    started = time.monotonic()
    make_worlds(args)
    jobs = all_runs(args)
    print(f'{len(jobs)} runs, each with its logs in {args.work_dir}/VARIANT/SEED')
    for (_, variant, seed), seconds in run_jobs(do_run, jobs, args.jobs, description='study'):
        print(f'{variant.name}, seed {seed}: {seconds:.0f} s')
    print(f'all of it: {(time.monotonic() - started) / 60:.1f} min')
    page = write_report(args, list(VARIANTS), finished_runs(args))
    print(f'tables and pictures: {page}')


if __name__ == '__main__':
    main()
