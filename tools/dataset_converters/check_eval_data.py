"""Check that the data of benchmarks are complete and coded as published.

Counts, pairs, label values, usual mistakes; draws one example of each benchmark. The exit code is
1 if something is wrong. Example:
    python tools/dataset_converters/check_eval_data.py configs/eval/code_vit-b16_all.py --limit 50
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config, DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config that evaluates one or several benchmarks')
    parser.add_argument(
        '--limit', type=int, help='read at most so many label files of each benchmark: a quick look'
    )
    parser.add_argument('--workers', type=int, default=4, help='processes that read files')
    parser.add_argument(
        '--out', type=Path, default='work_dirs/check_eval_data', help='for examples, class shares'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='override keys of the config, key=value: test_dataloader.dataset.data_root=FOLDER',
    )
    return parser.parse_args()


def load(args: argparse.Namespace) -> Config:
    from mmengine.registry import init_default_scope

    import code_mm.datasets  # noqa: F401

    if not Path(args.config).is_file():
        raise FileNotFoundError(f'expected a config file, but {args.config!r} does not exist')
    if args.limit is not None and args.limit < 1:
        raise ValueError(f'--limit: expected at least 1, but got {args.limit}')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope('mmseg')
    return cfg


def write(report, folder: Path) -> None:
    """Class shares as markdown and json, and the example."""
    import mmcv
    from PIL import Image

    from code_mm.atomic_write import atomic_write
    from code_mm.evaluation.result_table import write_result_table
    from code_mm.visualization import draw_side_by_side

    if report.num_read:
        shares = 100 * report.pixels / max(report.pixels.sum(), 1)
        columns = zip(report.classes, shares, report.images, strict=True)
        rows = [{'class': c, 'pixels %': float(s), 'images': int(i)} for c, s, i in columns]
        digits = {'pixels %': 3, 'images': 0}
        write_result_table(rows, folder / f'{report.name}_classes', digits=digits)
    if report.example:
        image = mmcv.imread(report.example['img_path'], channel_order='rgb')
        labels, palette = report.example['labels'], [tuple(c) for c in report.palette]
        picture = draw_side_by_side(image, labels, {}, report.classes, palette, panel=480)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / f'{report.name}.png') as unfinished:
            Image.fromarray(picture).save(unfinished, format='PNG')


def show(report) -> None:
    found = (
        f'{report.num_images} images, {report.num_labels} labels ({report.num_read} read), '
        f'{100 * report.ignored:.1f} % of the pixels ignored, '
        f'{int((report.pixels > 0).sum())} of {len(report.classes)} classes seen'
    )
    print(f'{report.name}: {"WRONG" if report.problems else "right"}: {found}')
    for problem in report.problems:
        print(f'  wrong: {problem}')
    for note in report.notes:
        print(f'  note: {note}')
    if report.problems and report.preparation:
        print(f'  to prepare: {report.preparation} (docs/benchmarks.md)')


def main() -> None:
    args = parse_args()
    cfg = load(args)
    from data_report import check_benchmark
    from evaluated_datasets import evaluated_datasets

    wrong = 0
    for name, dataset in evaluated_datasets(cfg).items():
        report = check_benchmark(name, dataset, args.limit, args.workers)
        show(report)
        write(report, args.out)
        wrong += bool(report.problems)
    print(f'Examples and shares of the classes are in {args.out}')
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
