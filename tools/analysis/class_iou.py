"""Draws the IoU of every class as bars, sorted, for one or several runs.

Example:
    python tools/test.py CONFIG CHECKPOINT --out maps/code
    python tools/analysis/class_iou.py CONFIG CoDe=maps/code
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
    parser.add_argument(
        '--sort',
        choices=['iou', 'difference', 'label'],
        default='iou',
        help='by the IoU of the first run, by how much the second run is better, or by label',
    )
    parser.add_argument('--top', type=int, help='only the first and the last so many classes')
    parser.add_argument('--out', type=Path, default=OUT / 'class_iou', help='folder of the results')
    return parser.parse_args()


def class_order(ious: dict, sort: str, top: int | None) -> list[int]:
    """Labels in drawing order."""
    import numpy as np

    from code_mm.visualization import order_by_iou

    values = list(ious.values())
    if sort == 'difference':
        if len(values) < 2:
            raise ValueError('--sort difference: expected at least two runs, but got one')
        order = order_by_iou(values[1] - values[0])
    elif sort == 'iou':
        order = order_by_iou(values[0])
    else:
        order = [i for i in range(len(values[0])) if not np.isnan(values[0][i])]
    if top is not None and 2 * top < len(order):
        order = order[:top] + order[-top:]
    return order


def main() -> None:
    args = parse_args()
    runs = parse_runs(args.runs)
    from code_mm.evaluation import write_result_table
    from code_mm.evaluation.confusion_matrix import class_ious
    from code_mm.visualization import draw_class_ious

    dataset = test_dataset(load_config(args.config, args.cfg_options), args.dataset)
    classes = dataset.metainfo['classes']
    counts = count_pixels(dataset, runs)
    ious = {title: 100 * class_ious(pixels) for title, pixels in counts.items()}
    order = class_order(ious, args.sort, args.top)
    rows = [{'class': classes[i], **{t: float(v[i]) for t, v in ious.items()}} for i in order]
    write_result_table(rows, args.out / 'class_iou')
    print(f'table: {args.out / "class_iou.md"} and .json')
    save_picture(draw_class_ious(ious, classes, order), args.out / 'class_iou.png')


if __name__ == '__main__':
    main()
