"""Tells which class names a model confuses and, given images, suggests a background threshold.

Example:
    python tools/check_classes.py --classes "cat, dog, wolf" --images photos/
"""

import argparse

from model_options import add_model_options, build_inferencer, run_or_explain

ADVICE = """Pixels of a confusable pair go to either name more or less by chance. If both mean one
thing to you, make them synonyms ("{}|{}"); if not, say what parts them ("wolf in the snow")."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser)
    parser.add_argument('--images', help='folder of unlabelled images, for a threshold')
    parser.add_argument('--max-images', type=int, default=100, help='of the folder, evenly spread')
    parser.add_argument(
        '--quantile', type=float, default=0.95, help='pairs above this quantile are confusable'
    )
    return parser.parse_args()


def print_confusion(inferencer, words, quantile: float) -> None:
    from class_advice import confusable_class_names
    from rich import print as rich_print
    from rich.table import Table

    confusion = confusable_class_names(inferencer.model, words, quantile)
    table = Table('class', 'class', 'similarity')
    for first, second, value in confusion.confusable:
        table.add_row(first, second, f'{value:.3f}')
    values = [value for *_, value in confusion.pairs]
    rich_print(table)
    print(
        f'{len(confusion.confusable)} of {len(values)} pairs, at or above quantile {quantile:g}; '
        f'the median pair has {sorted(values)[len(values) // 2]:.3f}'
    )
    print(ADVICE.format(*confusion.pairs[0][:2]))


def print_threshold(inferencer, words, args) -> None:
    from class_advice import suggest_background_threshold
    from rich.progress import track

    from code_mm.apis.input_images import list_images

    images = list_images(args.images)
    images = images[:: max(1, -(-len(images) // args.max_images))]
    shown = track(images, description='images')
    found = suggest_background_threshold(inferencer, shown, words, args.batch_size)
    print(
        f'suggested: --background-threshold {found.threshold:.2f} ({found.num_images} images; '
        f'{100 * found.share_above:.0f} % of the pixels would get a class; separability '
        f'{found.separability:.2f})'
    )
    if not found.trustworthy:
        print(
            'Do not trust it: the scores do not fall into two groups (separability up to 0.75). '
            "Keep the config's threshold, or look at overlays at several."
        )


def main() -> int:
    args = parse_args()
    if args.max_images < 1:
        raise ValueError(f'expected --max-images >= 1, but got {args.max_images}')
    inferencer = build_inferencer(args, background=True, show_progress=False)
    words = inferencer.query().words
    if len(words) > 1:
        print_confusion(inferencer, words, args.quantile)
    if args.images:
        print_threshold(inferencer, words, args)
    return 0


if __name__ == '__main__':
    run_or_explain(main)
