"""Shows which classes a run takes for which: the most confused pairs and a picture.

Example:
    python tools/test.py CONFIG CHECKPOINT --out maps/code
    python tools/analysis/confusion_matrix.py CONFIG maps/code
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from analysis_options import OUT, count_pixels, make_parser, read_runs, save_picture, say_left_out
from matplotlib.figure import Figure
from run_or_explain import run_or_explain


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__, runs=True)
    parser.add_argument('--pairs', type=int, default=20, help='length of the table')
    parser.add_argument(
        '--by',
        choices=['share', 'pixels'],
        default='share',
        help='what ranks the pairs: share of the true class, or number of pixels',
    )
    parser.add_argument(
        '--max-classes',
        type=int,
        default=25,
        help='with more classes than this the picture shows those of the most confused pairs',
    )
    parser.add_argument('--out', type=Path, default=OUT / 'confusion_matrix', help='folder')
    return parser.parse_args()


def shares_of_rows(counts: np.ndarray) -> np.ndarray:
    """Shares (n, m) in [0, 1] of the true class, of pixels (n, m); rows without a pixel stay 0."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)


def most_confused(counts: np.ndarray, by: str = 'share') -> list[tuple[int, int]]:
    """Pairs of labels (truth, prediction) that are mixed up, worst first.

    By 'share' of the true class, which counts every class alike as mIoU does, or by 'pixels'.
    """
    rank = (shares_of_rows(counts) if by == 'share' else counts).astype(np.float64)
    np.fill_diagonal(rank, 0)
    order = np.argsort(-rank, axis=None, kind='stable')
    return [divmod(int(cell), len(counts)) for cell in order if rank.flat[cell] > 0]


def classes_to_show(counts: np.ndarray, limit: int, by: str = 'share') -> list[int]:
    """Labels of the most confused pairs, in rising order: as many as a picture can name."""
    if limit < 2:
        raise ValueError(f'expected at least 2 classes to show, but got {limit}')
    if len(counts) <= limit:
        return list(range(len(counts)))
    shown: set[int] = set()
    for pair in most_confused(counts, by):
        if len(shown.union(pair)) > limit:
            break
        shown.update(pair)
    return sorted(shown) or list(range(limit))


def draw_confusion(
    counts: np.ndarray, classes: Sequence[str], shown: Sequence[int], title: str = ''
) -> Figure:
    """Draw shares of the true class, in percent; every row sums to 100.

    ``counts`` are pixels (n, n), row = truth, column = prediction. Predictions of classes that are
    not ``shown`` are put together in a last column.
    """
    table = counts[np.ix_(shown, shown)]
    names = [classes[i] for i in shown]
    columns = names
    if len(shown) < len(classes):
        others = counts[shown].sum(axis=1) - table.sum(axis=1)
        table, columns = np.column_stack([table, others]), [*names, '(all others)']
    percent = 100 * shares_of_rows(table)
    rows = [
        name if pixels else f'{name} (no pixels)'
        for name, pixels in zip(names, table.sum(axis=1), strict=True)
    ]

    side = 0.36 * len(columns)
    figure = Figure(figsize=(max(4.5, side + 2.6), max(3, side + 1.8)), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(percent, cmap='Blues', vmin=0, vmax=100)
    slanted = dict(rotation=60, ha='right', rotation_mode='anchor')
    axes.set_xticks(range(len(columns)), columns, parse_math=False, **slanted)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_xlabel('prediction')
    axes.set_ylabel('truth')
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    for (i, j), value in np.ndenumerate(percent):
        if value >= 0.5:
            colour = 'white' if value > 55 else 'black'
            axes.text(j, i, f'{value:.0f}', ha='center', va='center', fontsize=7, color=colour)
    figure.colorbar(image, ax=axes, shrink=0.6, label='percent of the true class')
    return figure


def report(title: str, counts, classes, out: Path, args: argparse.Namespace) -> None:
    """Table, counts and picture of one run."""
    from code_mm.atomic_write import atomic_write
    from code_mm.evaluation import class_ious, write_result_table

    miou = 100 * np.nanmean(class_ious(counts))
    shares = shares_of_rows(counts)
    rows = [
        {
            'truth': classes[i],
            'predicted as': classes[j],
            'share in %': 100 * shares[i, j],
            'pixels': int(counts[i, j]),
        }
        for i, j in most_confused(counts, args.by)[: args.pairs]
    ]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / 'counts.npz', '.npz') as unfinished:
        np.savez_compressed(unfinished, counts=counts, classes=np.array(classes))
    print(f'{title}: mIoU {miou:.2f}; counts: {out / "counts.npz"}')
    if rows:
        print(write_result_table(rows, out / 'most_confused', digits={'pixels': 0}))
        print(f'table: {out / "most_confused.md"} and .json')
    shown = classes_to_show(counts, args.max_classes, args.by)
    heading = f'{title}, mIoU {miou:.1f}'
    if len(shown) < len(classes):
        heading += f' (the {len(shown)} most confused of {len(classes)} classes)'
    save_picture(draw_confusion(counts, classes, shown, heading), out / 'confusion_matrix.png')


def main() -> int:
    args = parse_args()
    dataset, runs = read_runs(args)
    for title, counts in count_pixels(dataset, runs).items():
        out = args.out / title if len(runs) > 1 else args.out
        report(title, counts, list(dataset.metainfo['classes']), out, args)
    return say_left_out(*(saved.failed for saved in runs.values()))


if __name__ == '__main__':
    run_or_explain(main)
