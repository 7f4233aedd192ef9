"""Shows which classes a run takes for which: the most confused pairs and a picture.

Example:
    python tools/test.py CONFIG CHECKPOINT --out maps/code
    python tools/analysis/confusion_matrix.py CONFIG maps/code
"""

import argparse
from pathlib import Path

from analysis_options import (
    OUT,
    add_run_options,
    count_pixels,
    load_config,
    parse_runs,
    save_picture,
    test_dataset,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_run_options(parser)
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


def report(title: str, counts, classes, out: Path, args: argparse.Namespace) -> None:
    """Table, counts and picture of one run."""
    import numpy as np

    from code_mm.evaluation import write_result_table
    from code_mm.evaluation.confusion_matrix import class_ious, classes_to_show, most_confused
    from code_mm.visualization import draw_confusion

    miou = 100 * np.nanmean(class_ious(counts))
    pairs = most_confused(counts, classes, args.pairs, args.by)
    rows = [
        {
            'truth': pair.truth,
            'predicted as': pair.prediction,
            'share in %': 100 * pair.share,
            'pixels': pair.pixels,
        }
        for pair in pairs
    ]
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / 'counts.npz', counts=counts, classes=np.array(classes))
    print(f'{title}: mIoU {miou:.2f}; counts: {out / "counts.npz"}')
    if rows:
        print(write_result_table(rows, out / 'most_confused', digits={'pixels': 0}))
        print(f'table: {out / "most_confused.md"} and .json')
    shown = classes_to_show(counts, classes, args.max_classes, args.by)
    heading = f'{title}, mIoU {miou:.1f}'
    if len(shown) < len(classes):
        heading += f' (the {len(shown)} most confused of {len(classes)} classes)'
    save_picture(draw_confusion(counts, classes, shown, heading), out / 'confusion_matrix.png')


def main() -> None:
    args = parse_args()
    runs = parse_runs(args.runs)
    dataset = test_dataset(load_config(args.config, args.cfg_options), args.dataset)
    for title, counts in count_pixels(dataset, runs).items():
        out = args.out / title if len(runs) > 1 else args.out
        report(title, counts, list(dataset.metainfo['classes']), out, args)


if __name__ == '__main__':
    main()
