"""Draws the images that a run segments worst and best, by their mean IoU (thesis Fig. 4.5).

Example:
    python tools/test.py CONFIG CHECKPOINT --out maps/code
    python tools/analysis/worst_and_best.py CONFIG maps/code --num 5
"""

import argparse
import json
from pathlib import Path

from analysis_options import (
    OUT,
    add_picture_options,
    make_parser,
    read_runs,
    save_table,
    say_left_out,
)
from run_or_explain import run_or_explain


def parse_args() -> argparse.Namespace:
    parser = make_parser(__doc__, runs=True)
    parser.add_argument('--num', type=int, default=5, help='how many of either kind')
    parser.add_argument(
        '--scores',
        help='per_image_iou.jsonl of the first run, written by the metric PerImageIoU; without '
        'it the scores are computed from the label maps',
    )
    add_picture_options(parser)
    parser.add_argument('--out', type=Path, default=OUT / 'worst_and_best', help='folder')
    return parser.parse_args()


def read_scores(path: str, predictions) -> list:
    """IoU of every image from a file, brought into data set order by the images' paths."""
    scores = {}
    for number, line in enumerate(Path(path).read_text(encoding='utf-8').splitlines(), 1):
        try:
            row = json.loads(line)
            scores[row['image']] = {key: row[key] for key in ('image', 'mIoU', 'IoU')}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'expected lines of PerImageIoU, but line {number} of {path} is {line[:80]!r}'
            ) from error
    missing = [image for image in predictions.images if image not in scores]
    if missing:
        raise ValueError(
            f'expected a score of each of the {len(predictions)} images in {path}, but '
            f'{len(missing)} have none, {missing[:3]}; was it written for another data set?'
        )
    return [scores[image] for image in predictions.images]


def rank_images(means: list[float | None], num: int) -> tuple[list[int], list[int]]:
    """Indices of the worst images (worst first) and of the best (best first); none is in both.

    Images without a counted pixel (None) take no part; equal scores keep the data set's order.
    """
    scored = [i for i, mean in enumerate(means) if mean is not None]
    if not scored or num < 1:
        raise ValueError(
            f'expected images with a score and num >= 1, but got {len(scored)} scored images and '
            f'num={num}'
        )
    best = sorted(scored, key=lambda i: -means[i])[: min(num, len(scored) // 2)]
    rising = sorted(scored, key=lambda i: means[i])
    return [i for i in rising if i not in best][:num], best


def score_text(score, true_classes: set[str]) -> str:
    """mIoU, the IoU of the classes in the truth, and how many more pull the mean down."""
    if score['mIoU'] is None:
        return 'no pixel that counts'
    single = ', '.join(f'{n} {iou:.0f}' for n, iou in score['IoU'].items() if n in true_classes)
    invented = len(set(score['IoU']) - true_classes)
    also = f'; {invented} absent classes 0' if invented else ''
    return f'mIoU {score["mIoU"]:.1f}: {single}{also}'


def comparison_row(index: int, runs: dict, classes, ignore_index: int):
    """Image, truth and the label maps of all runs that can be read, with their scores below."""
    import mmcv
    import numpy as np

    from code_mm.evaluation import image_iou
    from code_mm.visualization import ComparisonRow

    maps, notes, labels = {}, {}, range(len(classes))
    for title, predictions in runs.items():
        one = predictions.find(index)
        if one is None:
            continue
        score = image_iou(one.path, one.prediction, one.truth, classes, ignore_index)
        maps.setdefault('truth', one.truth)
        maps[title] = one.prediction
        notes[title] = score_text(score, {classes[c] for c in np.unique(one.truth) if c in labels})
    path = predictions.images[index]
    image = mmcv.imread(path, channel_order='rgb') if maps else None
    return ComparisonRow(image, maps, f'{index}: {Path(path).name}', notes)


def main() -> int:
    args = parse_args()
    from rich.progress import track

    from code_mm.evaluation.per_image_iou import image_iou, write_per_image_iou

    dataset, runs = read_runs(args)
    meta, ignore_index = dataset.metainfo, dataset.ignore_index
    first = next(iter(runs.values()))
    if args.scores:
        scores = read_scores(args.scores, first)
    else:
        scores = [
            image_iou(one.path, one.prediction, one.truth, meta['classes'], ignore_index)
            if (one := first.find(i))
            else dict(image=first.images[i], mIoU=None, IoU={})
            for i in track(range(len(first)), 'IoU per image')
        ]
        print(f'scores: {write_per_image_iou(scores, args.out)}')
    worst, best = rank_images([score['mIoU'] for score in scores], args.num)
    for kind, indices in (('worst', worst), ('best', best)):
        rows = [comparison_row(i, runs, meta['classes'], ignore_index) for i in indices]
        rows = [row for row in rows if row.image is not None]
        if rows:
            save_table(rows, meta, dataset, args, args.out / f'{kind}.png')
    return say_left_out(*(saved.failed for saved in runs.values()))


if __name__ == '__main__':
    run_or_explain(main)
