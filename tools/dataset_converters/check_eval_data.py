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
    parser.add_argument('--workers', type=int, default=4, help='threads that read files')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/check_eval_data'),
        help='folder for examples and class shares',
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


def write(report, folder: Path) -> list[Path]:
    """Class shares as markdown and json, and the example; returns what was written."""
    import mmcv

    from code_mm.evaluation.result_table import write_result_table
    from code_mm.visualization import draw_side_by_side

    written = []
    if report.num_read:
        rows = [
            {'class': name, 'pixels %': 100 * share, 'images': int(images)}
            for name, share, images in zip(
                report.classes, report.shares, report.images, strict=True
            )
        ]
        digits = {'pixels %': 3, 'images': 0}
        write_result_table(rows, folder / f'{report.name}_classes', digits=digits)
        written.append(folder / f'{report.name}_classes.md')
    if report.example:
        image = mmcv.imread(report.example['img_path'], channel_order='rgb')
        labels, palette = report.example['labels'], [tuple(c) for c in report.palette]
        try:
            picture = draw_side_by_side(image, labels, {}, report.classes, palette, panel=480)
        except ValueError as error:  # labels without class: reported as a problem already
            print(f'{report.name}: no example drawn: {error}')
            return written
        path = folder / f'{report.name}.png'
        mmcv.imwrite(picture[..., ::-1], str(path))
        written.append(path)
    return written


def show(report, console, folder: Path) -> None:
    from rich.markup import escape

    verdict = '[red]WRONG[/red]' if report.problems else '[green]right[/green]'
    found = (
        'no data'
        if not report.classes
        else (
            f'{report.num_images} images, {report.num_labels} labels ({report.num_read} read), '
            f'{100 * report.ignored:.1f} % of the pixels ignored, '
            f'{int((report.pixels > 0).sum())} of {len(report.classes)} classes seen'
        )
    )
    console.print(f'[bold]{report.name}[/bold]: {verdict}: {found}')
    for problem in report.problems:
        console.print(f'  [red]wrong[/red]: {escape(problem)}')
    for note in report.notes:
        console.print(f'  note: {escape(note)}')
    if report.problems and report.preparation:
        console.print(f'  to prepare: {escape(report.preparation)} (docs/benchmarks.md)')
    for path in write(report, folder):
        console.print(f'  {path}')


def main() -> None:
    args = parse_args()
    cfg = load(args)
    from data_report import check_benchmark
    from rich.console import Console
    from rich.progress import track

    from code_mm.datasets.benchmarks.table import evaluated_datasets

    console = Console(soft_wrap=True)
    wrong = 0
    for name, dataset in evaluated_datasets(cfg).items():
        report = check_benchmark(
            name,
            dataset,
            args.limit,
            args.workers,
            lambda done, total, name=name: track(done, name, total, console=console),
        )
        show(report, console, args.out)
        wrong += bool(report.problems)
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
