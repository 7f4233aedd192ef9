"""Tells which class names a model confuses and, given images, suggests a background threshold.

Example:
    python tools/check_classes.py --classes "cat, dog, wolf" --images photos/
"""

import argparse
import sys

import numpy as np
from model_options import add_model_options, build_inferencer
from run_or_explain import run_or_explain

ADVICE = """Pixels of a confusable pair go to either name more or less by chance. If both mean one
thing to you, make them synonyms ("{}|{}"); if not, say what parts them ("wolf in the snow")."""
BINS = 256
# A single bell-shaped group has 0.64, evenly spread scores have 0.75.
TWO_GROUPS = 0.75


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


def similar_pairs(model, words) -> list[tuple[str, str, float]]:
    """Two class names and the cosine similarity of their embeddings, most similar first."""
    import torch

    from code_mm.apis.class_query import ClassQuery

    with torch.no_grad():
        ClassQuery(words, None).ask(model)
        return embedded_pairs(model.vocabulary.embeddings, words)


def embedded_pairs(embeddings, words) -> list[tuple[str, str, float]]:
    """The same of the embeddings [phrases, c] of these words.

    Pixels are compared with the same embeddings, so classes of nearly equal ones share their
    pixels more or less by chance. Synonyms count for their class with the most similar one.
    """
    by_class = embeddings.float().cpu().split([len(word.split('|')) for word in words])
    pairs = [
        (words[i], words[j], float((by_class[i] @ by_class[j].T).max()))
        for i in range(len(words))
        for j in range(i + 1, len(words))
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def print_confusion(inferencer, words, quantile: float) -> None:
    """What is similar depends on the model, hence a quantile rather than a fixed similarity."""
    from rich import print as rich_print
    from rich.table import Table

    pairs = similar_pairs(inferencer.model, words)
    values = [value for *_, value in pairs]
    limit = np.quantile(np.float32(values), quantile)
    confusable = [pair for pair in pairs if pair[2] >= limit]
    table = Table('class', 'class', 'similarity')
    for first, second, value in confusable:
        table.add_row(first, second, f'{value:.3f}')
    rich_print(table)
    print(
        f'{len(confusable)} of {len(pairs)} pairs, at or above quantile {quantile:g}; '
        f'the median pair has {sorted(values)[len(values) // 2]:.3f}'
    )
    print(ADVICE.format(*pairs[0][:2]))


def print_threshold(inferencer, words, args) -> int:
    """Where the best scores of all pixels fall into two groups; how many images are not read."""
    from rich.progress import track

    from code_mm.apis.class_query import ClassQuery
    from code_mm.apis.input_images import list_images

    images = list_images(args.images)
    images = images[:: max(1, -(-len(images) // args.max_images))]
    query, histogram, count = ClassQuery(words, 0.5), np.zeros(BINS, np.int64), 0
    shown, failed = track(images, description='images'), {}
    keys = dict(failed=failed, keep_scores=True)
    for result in inferencer.segment(shown, query, args.batch_size, **keys):
        histogram += np.histogram(result.scores[1:].max(axis=0), BINS, (0, 1))[0]
        count += 1
    if not count:
        raise ValueError('expected images that can be read, but there was none')
    threshold, separability = otsu_threshold(histogram)
    above = histogram[np.arange(BINS) / BINS >= threshold].sum() / histogram.sum()
    print(
        f'suggested: --background-threshold {threshold:.2f} ({count} images; {100 * above:.0f} % '
        f'of the pixels would get a class; separability {separability:.2f})'
    )
    if separability <= TWO_GROUPS:
        print(
            'Do not trust it: the scores do not fall into two groups (separability up to 0.75). '
            "Keep the config's threshold, or look at overlays at several."
        )
    for name, reason in failed.items():
        print(f'not read: {name}: {reason}', file=sys.stderr)
    return len(failed)


def otsu_threshold(histogram: np.ndarray) -> tuple[float, float]:
    """Otsu's threshold (1979) of counts (n,) of equal bins over [0, 1].

    Returns:
        tuple[float, float]: The border between bins at which the variance between the two groups
        is largest (the middle one of several), and that variance over the total one.
    """
    bins = len(histogram)
    weights = histogram / max(histogram.sum(), 1)
    centres = (np.arange(bins) + 0.5) / bins
    below, moment = weights.cumsum()[:-1], (weights * centres).cumsum()
    mean = moment[-1]
    total = (weights * (centres - mean) ** 2).sum()
    if total <= 0:
        raise ValueError('expected scores that differ, but all pixels have the same one')
    inner = below * (1 - below)
    between = np.divide(
        (mean * below - moment[:-1]) ** 2, inner, out=np.zeros(bins - 1), where=inner > 1e-12
    )
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return round(best.mean() + 1) / bins, float(between.max() / total)


def main() -> int:
    args = parse_args()
    if args.max_images < 1:
        raise ValueError(f'expected --max-images >= 1, but got {args.max_images}')
    if not 0 <= args.quantile <= 1:
        raise ValueError(f'expected --quantile in [0, 1], but got {args.quantile}')
    inferencer = build_inferencer(args, background=True, show_progress=False)
    words = inferencer.query().words
    if len(words) > 1:
        print_confusion(inferencer, words, args.quantile)
    return 1 if args.images and print_threshold(inferencer, words, args) else 0


if __name__ == '__main__':
    run_or_explain(main)
