"""The demo: make the shapes world, train CoDe, compare it with MaskCLIP, draw pictures.

Every step goes through the doors that users take: the converter, `mim train`, `mim test`. A step
whose result is there already is left out, and training goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mmcv

from code_mm.atomic_write import write_text
from code_mm.evaluation import write_result_table
from code_mm.visualization import draw_side_by_side
from projects.shapes_world import BACKGROUNDS, NOUNS, ShapesWorldDataset
from projects.shapes_world.runs import ROOT, make_world, run_command

CONFIGS = 'projects/shapes_world/configs'
UNTRAINED_CONFIG = 'maskclip_shapes-hard'
NAMES = [
    'model.background_threshold=None',
    f'custom_hooks.0.class_names=[{"|".join(BACKGROUNDS)},{",".join(NOUNS)}]',
]
PAMR = ['model.decode_head.post_processor.type=PAMR']
# Row of the table -> its folder, and keys of the config of MaskCLIP.
TRAINING_FREE = {
    'MaskCLIP': ('maskclip_shapes-hard', []),
    'MaskCLIP + names': ('maskclip_shapes-hard_names', NAMES),
    'MaskCLIP + PAMR': ('maskclip_shapes-hard_pamr', PAMR),
    'MaskCLIP + PAMR + names': ('maskclip_shapes-hard_names_pamr', [*NAMES, *PAMR]),
}
# Row of the table -> config, for the checkpoint of the first.
TRAINED = {'CoDe': 'code_shapes-hard', 'CoDe + PAMR': 'code_shapes-hard_pamr'}
# Column of the table -> metric; AUC is a fraction, the others are percent.
COLUMNS = {
    'mIoU with background': 'mIoU',
    'mIoU without background': 'foreground/mIoU',
    'object AUC': 'object_auc',
}
TRAINING_CONFIG = 'code_shapes-hard'
PICTURE_HOOK = 3  # index of CoDecompositionHook in its custom_hooks


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='one training run each')
    parser.add_argument('--data', type=Path, default=Path('data/shapes_world'))
    parser.add_argument('--train', type=int, default=6000, help='captioned images')
    parser.add_argument('--val', type=int, default=300, help='labelled images')
    parser.add_argument('--iters', type=int, help="training iterations (the config's by default)")
    parser.add_argument('--pictures', type=int, default=8, help='images to draw side by side')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/shapes_demo'))
    return parser.parse_args()


def say(text: str) -> None:
    print(f'[demo {time.strftime("%H:%M:%S")}] {text}', flush=True)


def run(log: Path, *command: object) -> None:
    say(f'{" ".join(map(str, command))}\n  (all output: {log})')
    run_command(ROOT / log, *command, progress=True)


def mim() -> str:
    """The `mim` of this environment, active or not."""
    beside = Path(sys.executable).with_name('mim')
    found = str(beside) if beside.exists() else shutil.which('mim')
    if not found:
        raise SystemExit('expected the command mim, but there is none; run make install first')
    return found


def data_options(args: argparse.Namespace, trained: bool) -> list[str]:
    """Keys that name the folder: that of the images to score, or all that CoDe's config has."""
    places = ['test_dataloader']
    if trained:
        places += ['train_dataloader', 'val_dataloader', f'custom_hooks.{PICTURE_HOOK}']
    return [f'{place}.dataset.data_root={args.data}' for place in places]


def train(args: argparse.Namespace, seed: int, work_dir: Path) -> Path:
    """Train one seed and give its checkpoint."""
    options = [f'randomness.seed={seed}', *data_options(args, trained=True)]
    if args.iters:
        options.append(f'train_cfg.max_iters={args.iters}')
    if not (work_dir / 'finished').exists():
        run(
            work_dir / 'train.log',
            *(mim(), 'train', 'code_mm', f'{CONFIGS}/{TRAINING_CONFIG}.py', '--gpus', 0),
            *('--work-dir', work_dir, '--resume', '--cfg-options', *options),
        )
        (ROOT / work_dir / 'finished').touch()
    return Path((ROOT / work_dir / 'last_checkpoint').read_text().strip())


def evaluate(args, config: str, work_dir: Path, checkpoint, keys: Sequence[str] = ()) -> dict:
    """Metrics of one config, from an earlier run where there is one."""
    result = ROOT / work_dir / 'metrics.json'
    if not result.exists():
        options = data_options(args, trained=config in TRAINED.values())
        run(
            work_dir / 'test.log',
            *(mim(), 'test', 'code_mm', f'{CONFIGS}/{config}.py', '--checkpoint', checkpoint),
            *('--gpus', 0, '--work-dir', work_dir, '--out', work_dir / 'label_maps'),
            *('--cfg-options', *options, *keys),
        )
        newest = max((ROOT / work_dir).glob('*/*.json'), key=lambda path: path.stat().st_mtime)
        write_text(result, newest.read_text())
    return json.loads(result.read_text())


def compare(args: argparse.Namespace) -> tuple[list[dict], dict[str, Path]]:
    """Train and evaluate everything: table rows, and where each row's label maps are."""
    metrics, maps = {}, {}
    for name, (folder, keys) in TRAINING_FREE.items():
        folder = args.work_dir / folder
        metrics[name] = [evaluate(args, UNTRAINED_CONFIG, folder, 'none', keys)]
        maps[name] = folder / 'label_maps'
    for seed in args.seeds:
        base = args.work_dir / f'seed_{seed}'
        checkpoint = train(args, seed, base / 'train')
        for name, config in TRAINED.items():
            folder = base / config
            metrics.setdefault(name, []).append(evaluate(args, config, folder, checkpoint))
            maps.setdefault(name, folder / 'label_maps')
    rows = []
    for name, runs in metrics.items():
        values = {column: [one[key] for one in runs] for column, key in COLUMNS.items()}
        if len(runs) == 1:
            values = {column: value for column, (value,) in values.items()}
        rows.append({'model': name, **values})
    return rows, maps


def draw(args: argparse.Namespace, maps: dict[str, Path]) -> Path:
    """Image, truth and all predictions side by side."""
    folder = ROOT / args.work_dir / 'pictures'
    data = ROOT / args.data
    meta = ShapesWorldDataset(level='hard', lazy_init=True).metainfo
    for path in sorted((data / 'images/validation').glob('*.jpg'))[: args.pictures]:
        label = path.with_suffix('.png').name
        predictions = {
            name: mmcv.imread(ROOT / where / label, 'unchanged') for name, where in maps.items()
        }
        picture = draw_side_by_side(
            mmcv.imread(path, channel_order='rgb'),
            mmcv.imread(data / 'annotations/validation' / label, 'unchanged'),
            predictions,
            meta['classes'],
            meta['palette'],
        )
        mmcv.imwrite(picture[..., ::-1], str(folder / f'segmentation_{path.stem}.png'))
    for path in (ROOT / args.work_dir).glob('seed_*/train/*/vis_data/vis_image/*.png'):
        shutil.copy(path, folder / path.name)
    return folder


def main() -> None:
    args, begin = parse_args(), time.time()
    make_world(args.data, ROOT / args.work_dir / 'world.log', 'hard', args.train, args.val)
    rows, maps = compare(args)
    table = write_result_table(
        rows, ROOT / args.work_dir / 'results', digits={'object AUC': 3}, bold_best=True
    )
    pictures = draw(args, maps)
    say(f'done in {(time.time() - begin) / 60:.1f} minutes, seeds {args.seeds}\n\n{table}\n')
    say(f'table: {args.work_dir}/results.md and .json')
    say(f'pictures: {pictures}')


if __name__ == '__main__':
    main()
