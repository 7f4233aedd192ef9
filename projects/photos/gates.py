"""Measures what the photographs' model must reach: results/gates.json and README's table.

python projects/photos/gates.py --held-out ../shared/data/flickr8k/heldout-*.tar

Retrieval among the first 1000 held-out photographs, colours on all of them, masks on
``data/coco_photos`` (``make_benchmarks.py``). Intervals are those of a bootstrap over photographs.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import Tensor

from code_mm.atomic_write import write_text
from code_mm.ops import crop, l2_normalize, pad_to_multiple
from code_mm.vocabulary import Vocabulary, embed_vocabulary
from projects.photos.datasets import PRESENT, THINGS_BY_ROWS
from projects.photos.pretraining_data import EncodedCaptions, encode_sentences, encode_shards
from projects.photos.reading import by_rows

PROJECT = Path(__file__).parent
CONFIG = PROJECT / 'configs' / 'photos_efficientnet-lite2.py'
RESULTS, README = PROJECT / 'results' / 'gates.json', PROJECT / 'README.md'
START, END = '<!-- gates: written by gates.py -->', '<!-- end of gates -->'
PHOTOS, DRAWS = 1000, 1000
PAIRS = (
    *(('black', 'white', 'dog'), ('brown', 'white', 'dog'), ('black', 'brown', 'dog')),
    *(('red', 'blue', 'shirt'), ('white', 'black', 'shirt'), ('yellow', 'blue', 'shirt')),
    *(('green', 'red', 'shirt'), ('red', 'blue', 'jacket'), ('red', 'black', 'jacket')),
)
GOALS = {
    'caption to image, R@10': 62.0,
    'image to caption, R@10': 66.0,
    'text tower alone, 52 things': 26.0,
    'text tower alone, all 129': 11.0,
    'as shipped, 52 things': 42.0,
    'as shipped, all 129': 15.0,
    'as shipped, 52 things and background': 26.0,
    'colour words': 0.7,
}


def interval(statistic: Callable[[np.ndarray], float], count: int) -> tuple[float, float, float]:
    """A statistic of ``count`` photographs, given by their places, and its 95 % interval."""
    draw = np.random.default_rng(0)
    values = [statistic(draw.integers(count, size=count)) for _ in range(DRAWS)]
    return statistic(np.arange(count)), *np.percentile(values, [2.5, 97.5])


def ranks(images: Tensor, texts: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How many wrong ones lie before the first right one.

    Args:
        images (Tensor): Unit embeddings [n, c].
        texts (Tensor): Those of their captions [n, k, c].

    Returns:
        Of every caption among photographs [n, k]; of every photograph among captions [n].
    """
    cosines = torch.einsum('nkc,ic->nki', texts, images)
    own = torch.einsum('nkc,nc->nk', texts, images)
    of_captions = (cosines > own[..., None]).sum(dim=2)
    of_images = (cosines > own.amax(dim=1)).sum(dim=(0, 1))
    return of_captions.numpy(), of_images.numpy()


def colour_answers(
    encoded: EncodedCaptions, images: Tensor, embed: Callable[[list[str]], Tensor]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each pair: photographs whose captions name one of both, and whether it was preferred.

    Yields places [m] and truths [m, 2]: the first is named (else the second), the answer is right.
    """
    joined = [' . '.join(texts).lower() for texts in encoded.captions]
    for first, second, thing in PAIRS:
        named = np.array(
            [
                [re.search(rf'\b{colour} {thing}s?\b', text) is not None for text in joined]
                for colour in (first, second)
            ]
        )
        places = np.flatnonzero(named[0] != named[1])
        texts = embed([f'a {colour} {thing}' for colour in (first, second)])
        margins = (images[places] @ (texts[0] - texts[1])).numpy()
        is_first = named[0][places]
        yield places, np.stack([is_first, (margins > 0) == is_first], axis=1)


def colour_score(answers: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> Callable:
    """Share of right answers, mean over pairs and over the two colours of each: chance is .5."""

    def score(places: np.ndarray) -> float:
        weight = np.bincount(places, minlength=count)
        shares = [
            np.average(truths[side, 1], weights=weight[where[side]])
            for where, truths in answers
            for side in (truths[:, 0], ~truths[:, 0])
            if weight[where[side]].sum()
        ]
        return float(np.mean(shares))

    return score


def mean_iou(confusions: np.ndarray) -> Callable[[np.ndarray], float]:
    """Percent, over the classes that are shown, of photographs [n, classes, classes] by places."""
    flat = confusions.reshape(len(confusions), -1).astype(np.float32)

    def score(places: np.ndarray) -> float:
        counts = np.bincount(places, minlength=len(flat)).astype(np.float32)
        joined = (counts @ flat).reshape(confusions.shape[1:]).astype(np.float64)
        union = joined.sum(axis=0) + joined.sum(axis=1) - joined.diagonal()
        shown = joined.sum(axis=1) > 0
        return float(100 * (joined.diagonal()[shown] / union[shown]).mean())

    return score


def vocabularies(model: torch.nn.Module, threshold: float) -> dict[str, Vocabulary]:
    """What the photographs are labelled with, by the name of the gate."""
    by_text = {
        '52 things': embed_vocabulary(THINGS_BY_ROWS, model.backbone, templates=model.templates),
        'all 129': embed_vocabulary(PRESENT, model.backbone, templates=model.templates),
    }
    shipped = {
        name: replace(words, embeddings=by_rows(words.embeddings, words.names, model.backbone))
        for name, words in by_text.items()
    }
    things = shipped['52 things']
    with_background = replace(
        things, names=('background', *things.names), background_threshold=threshold
    )
    return {
        **{f'text tower alone, {name}': words for name, words in by_text.items()},
        **{f'as shipped, {name}': words for name, words in shipped.items()},
        'as shipped, 52 things and background': with_background,
    }


@torch.inference_mode()
def mask_gates(
    model: torch.nn.Module, dataset: torch.utils.data.Dataset, threshold: float
) -> dict[str, np.ndarray]:
    """Confusion matrices of every photograph [n, classes, classes], by the name of the gate."""
    words = vocabularies(model, threshold)
    found = {name: [] for name in words}
    classes = dataset.METAINFO['classes']
    for i in range(len(dataset)):
        sample = dataset[i]
        batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
        image = model.data_preprocessor(batch)['inputs']
        padded, padding = pad_to_multiple(image, model.backbone.patch_size)
        maps = model.extract_feat(padded)
        labels = sample['data_samples'].gt_sem_seg.data[0].numpy()
        for name, vocabulary in words.items():
            scores = model.decode_head.predict(maps, vocabulary, padded)
            size = labels.shape
            scores = torch.nn.functional.interpolate(crop(scores, padding), size, mode='bilinear')
            predicted = scores[0].argmax(dim=0).numpy()
            places = np.full(256, -1)
            background = vocabulary.background_threshold is not None
            if background:
                places[:] = 0
            for place, of_name in enumerate(vocabulary.names[background:], start=background):
                places[classes.index(of_name)] = place
            true, count = places[labels], len(vocabulary.names)
            counted = true >= 0
            joint = np.bincount(true[counted] * count + predicted[counted], minlength=count**2)
            found[name].append(joint.reshape(count, count).astype(np.int32))
        if (i + 1) % 20 == 0:
            print(f'{i + 1}/{len(dataset)} photographs', flush=True)
    return {name: np.stack(confusions) for name, confusions in found.items()}


@torch.inference_mode()
def text_gates(model: torch.nn.Module, shards: list[str], folder: Path) -> dict[str, tuple]:
    """Retrieval and colours on held-out photographs: values and their intervals."""
    backbone = model.backbone
    encoded = encode_shards(backbone, shards, folder)
    images = l2_normalize(encoded.cells.float().mean(dim=1) - backbone.feature_mean)
    texts = l2_normalize(backbone.text_head(encoded.sentences[:PHOTOS]))
    of_captions, of_images = ranks(images[:PHOTOS], texts)
    answers = [
        *colour_answers(
            encoded,
            images,
            lambda texts: l2_normalize(backbone.text_head(encode_sentences(backbone, texts))),
        )
    ]
    count = len(of_images)
    return {
        'caption to image, R@10': interval(lambda i: 100 * (of_captions[i] < 10).mean(), count),
        'image to caption, R@10': interval(lambda i: 100 * (of_images[i] < 10).mean(), count),
        'colour words': interval(colour_score(answers, len(images)), len(images)),
    }


def table(gates: list[dict]) -> str:
    """The gates as README shows them."""
    lines = ['| | reached | interval | goal |', '|---|---|---|---|']
    for gate in gates:
        digits = 2 if gate['goal'] < 1 else 1
        value, low, high = (f'{gate[key]:.{digits}f}' for key in ('value', 'low', 'high'))
        value = f'**{value}**' if gate['value'] >= gate['goal'] else value
        lines.append(f'| {gate["name"]} | {value} | {low} to {high} | {gate["goal"]:g} |')
    return '\n'.join([START, *lines, END])


def write_results(values: dict[str, tuple]) -> None:
    """Write the list of gates, and their table into README."""
    gates = [
        dict(zip(('name', 'value', 'low', 'high'), (name, *map(float, values[name])), strict=True))
        | dict(goal=goal)
        for name, goal in GOALS.items()
        if name in values
    ]
    write_text(RESULTS, json.dumps(gates, indent=1) + '\n')
    text = README.read_text('utf-8')
    before, _, rest = text.partition(START)
    write_text(README, before + table(gates) + rest.partition(END)[2])
    print(table(gates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--held-out', nargs='+', required=True, help='shards with captions')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/pretrain_photos'))
    args = parser.parse_args()
    config = Config.fromfile(CONFIG)
    init_default_scope(config.default_scope)
    benchmark = config.test_cfg.benchmarks.by_rows_background
    model = MODELS.build(config.model).eval()
    model.init_weights()
    values = text_gates(model, args.held_out, args.work_dir / 'features')
    write_results(values)  # the masks take a while
    dataset = dict(benchmark.dataset, pipeline=config.test_dataloader.dataset.pipeline)
    dataset.pop('metainfo')
    dataset = DATASETS.build(dataset)
    for name, confusions in mask_gates(model, dataset, benchmark.background_threshold).items():
        values[name] = interval(mean_iou(confusions), len(confusions))
    write_results(values)


if __name__ == '__main__':
    main()
