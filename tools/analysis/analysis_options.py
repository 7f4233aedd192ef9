"""What the tools of this folder share: reading a config, its test data, its model, writing."""

import argparse
import sys
from pathlib import Path

# so that the tools load configs and models exactly as tools/test.py does
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

OUT = Path('work_dirs/analysis')


def make_parser(description: str, runs: bool = False) -> argparse.ArgumentParser:
    """A parser; with ``runs`` of a config and the label maps of test runs with it."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if runs:
        parser.add_argument('config', help='config whose test data was predicted')
        parser.add_argument(
            'runs',
            nargs='+',
            metavar='[TITLE=]FOLDER',
            help='label maps of a run, from tools/test.py CONFIG CHECKPOINT --out FOLDER',
        )
        add_config_options(parser)
    return parser


def add_config_options(parser) -> None:
    from mmengine.config import DictAction

    parser.add_argument('--dataset', help='which benchmark, where the config tests on several')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override keys of the config, key=value'
    )


def add_picture_options(parser) -> None:
    """How label maps are painted."""
    parser.add_argument(
        '--panel', type=int, default=256, help='pixels of the longer side of an image'
    )
    parser.add_argument(
        '--palette',
        dest='distinct',
        action='store_false',
        help="the data set's own colours instead of ones far from each other",
    )


def load_config(path: str, cfg_options: dict | None = None):
    """A config with its options merged and its keys checked, its parts registered."""
    import runner_options
    from mmengine.registry import init_default_scope

    options = argparse.Namespace(
        config=path,
        cfg_options=cfg_options,
        launcher='none',
        local_rank=0,
        work_dir=str(OUT / 'logs'),
    )
    cfg = runner_options.load_config(options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return cfg


def test_dataset_config(cfg, name: str | None = None) -> dict:
    """Config of the data set that the config tests on; ``name`` chooses among several."""
    from evaluated_datasets import evaluated_datasets

    found = evaluated_datasets(cfg)
    several = 'benchmarks' in (cfg.get('test_cfg') or {})
    if not several or (name is None and len(found) == 1):
        return next(iter(found.values()))
    if name not in found:
        raise ValueError(f'expected --dataset to be one of {list(found)}, but got {name!r}')
    return found[name]


def test_dataset(path: str, args: argparse.Namespace):
    """The data set that a config tests on."""
    from code_mm.registry import DATASETS

    return DATASETS.build(test_dataset_config(load_config(path, args.cfg_options), args.dataset))


def read_runs(args: argparse.Namespace) -> tuple:
    """The data set, and title -> label maps of the runs; without a title the folder's name."""
    runs = {}
    for text in args.runs:
        title, equals, folder = text.rpartition('=')
        if equals and not title:
            raise ValueError(f'expected [TITLE=]FOLDER, but got {text!r}')
        if not Path(folder).is_dir():
            raise FileNotFoundError(
                f'expected a folder with label maps, but {folder!r} is none; make it with '
                'tools/test.py CONFIG CHECKPOINT --out FOLDER'
            )
        title = title or Path(folder).resolve().name
        if title in runs:
            raise ValueError(
                f'expected different titles, but got {title!r} twice; use TITLE=FOLDER'
            )
        runs[title] = folder
    import matplotlib
    from label_maps import SavedPredictions

    from code_mm.visualization.lettering import fonts

    matplotlib.rcParams['font.family'] = list(fonts())  # class names of any script
    dataset = test_dataset(args.config, args)
    return dataset, {title: SavedPredictions(dataset, folder) for title, folder in runs.items()}


def count_pixels(dataset, runs: dict) -> dict:
    """Title -> pixels (n, n) by true and by predicted class, of the label maps of each run."""
    import numpy as np
    from rich.progress import track

    from code_mm.evaluation import confusion_counts

    number, ignored = len(dataset.metainfo['classes']), dataset.ignore_index
    counts = {title: np.zeros((number, number), np.int64) for title in runs}
    for title, saved in runs.items():
        for index in track(range(len(saved)), title):
            if one := saved.find(index):
                counts[title] += confusion_counts(one.prediction, one.truth, number, ignored)
    return counts


def say_left_out(*failed: dict[str, str]) -> int:
    """Name and count the images that could not be read; the exit status."""
    reasons = {path: reason for part in failed for path, reason in part.items()}
    for path, reason in reasons.items():
        print(f'left out: {path}: {reason}', file=sys.stderr)
    if reasons:
        print(f'{len(reasons)} images were left out; scores are without them', file=sys.stderr)
    return 1 if reasons else 0


def save_table(rows, meta: dict, dataset, args, path: Path) -> None:
    """Write the picture of ``draw_comparison``, as the picture options ask."""
    from code_mm.visualization import draw_comparison

    background = 0 if meta['classes'][0] == 'background' else None
    looks = (dataset.ignore_index, background, args.distinct, args.panel)
    save_picture(draw_comparison(rows, meta['classes'], meta['palette'], *looks), path)


def load_model(cfg, checkpoint: str, name: str):
    """A model with its weights, loaded and checked as tools/test.py does.

    ``none`` as checkpoint takes the weights that init_cfg of the config names.
    """
    from mmengine.logging import MMLogger
    from runner_options import build_runner

    from code_mm.weights.model_weights import pretrained_files

    from_config = checkpoint == 'none'
    if not from_config:
        cfg.load_from = checkpoint
    elif not any(pretrained_files(cfg.model)):
        raise ValueError(f'expected a checkpoint, but {cfg.filename} names no weights itself')
    cfg.resume = False
    cfg.log_level = 'WARNING'
    cfg.experiment_name = name
    runner = build_runner(cfg)
    MMLogger.get_current_instance().setLevel('WARNING')
    if from_config:
        runner.model.init_weights()
    else:
        runner.load_or_resume()
    return runner.model.eval()


def save_picture(picture, path: Path) -> None:
    """Write an RGB picture, or a figure of matplotlib, and say where it is."""
    from PIL import Image

    from code_mm.atomic_write import atomic_write

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, path.suffix) as unfinished:
        if hasattr(picture, 'savefig'):
            picture.savefig(unfinished)
        else:
            Image.fromarray(picture).save(unfinished)
    print(f'picture: {path}')
