"""Measure how fast caption samples are loaded: samples/s, and milliseconds of each stage.

Compares, taking turns in one run: decoding and cropping alone; the training pipeline with nouns
tagged on the fly, and with a noun cache; the same as a stream. Without --shards it measures
photo-like images that it makes.

Example:
    python tools/benchmark/data_loading.py --shards data/cc12m/00000.tar --workers 4 --json a.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from photo_like_shards import write_photo_like_shards
from setting import machine_name, positive, print_table
from torch.utils.data import DataLoader, Dataset, Subset

from code_mm.atomic_write import write_text
from code_mm.datasets import CaptionShardsDataset, CaptionStreamDataset
from code_mm.datasets.preparation.noun_extraction import NounExtraction
from code_mm.datasets.shards.shard_paths import expand_shard_paths

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets' / 'cc12m.py'
DECODING = 'decoding and cropping alone'
TAGGING = 'random access, tagging on the fly'
CACHED = 'random access, noun cache'
STREAM = 'stream, noun cache'
MAX_SHARDS = 2


class EncodedImages(Dataset):
    """Images in memory, so that nothing but the transforms takes time."""

    def __init__(self, images: Sequence[bytes], pipeline: Sequence) -> None:
        self.images, self.pipeline = images, Compose(pipeline)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict:
        return self.pipeline(dict(img_bytes=self.images[index]))


def training_pipeline(path: str) -> list[dict]:
    """The first pipeline of a training config that loads captioned images."""

    def find(node) -> list | None:
        if isinstance(node, dict):
            steps = node.get('pipeline') or ()
            if any('LoadCaptionImage' in step['type'] for step in steps):
                return steps
            node = list(node.values())
        return next(filter(None, map(find, node)), None) if isinstance(node, list) else None

    pipeline = find(Config.fromfile(path).train_dataloader.to_dict())
    if pipeline is None:
        raise SystemExit(f'--config: expected {path} to load captioned images, but it does not')
    return pipeline


def make_datasets(
    shards: Sequence[str], pipeline: Sequence[dict], noun_cache: str, num_samples: int
) -> tuple[dict[str, Dataset], list[int]]:
    """The same samples in several ways, by name; and which of the shards' samples they are.

    Args:
        shards (Sequence[str]): Local tar files.
        pipeline (Sequence[dict]): With ``LoadNouns``, ``LoadCaptionImage`` and a crop.
        noun_cache (str): Folder of the nouns of these shards.
        num_samples (int): Usable pairs that are measured.
    """
    names = [step['type'].rpartition('.')[2] for step in pipeline]
    wanted = [n == 'LoadCaptionImage' or 'Crop' in n or n == 'Resize' for n in names]
    if not {'LoadNouns', 'LoadCaptionImage'} <= {*names} or sum(wanted) < 2:
        raise ValueError(
            f'expected a pipeline with LoadNouns, LoadCaptionImage and a crop, but got {names}'
        )
    tagging, cached = ([dict(step) for step in pipeline] for _ in range(2))
    tagging[names.index('LoadNouns')]['cache'] = None
    cached[names.index('LoadNouns')]['cache'] = noun_cache
    whole = {
        TAGGING: CaptionShardsDataset(shards, pipeline=tagging),
        CACHED: CaptionShardsDataset(shards, pipeline=cached),
    }
    usable = (i for i in range(len(whole[CACHED])) if whole[CACHED].prepare_data(i) is not None)
    indices = [index for index, _ in zip(usable, range(num_samples), strict=False)]
    if not indices:
        raise ValueError(f'expected usable pairs, but got {whole[CACHED].skipped}')
    images = [read(whole[TAGGING], i)['img_bytes'] for i in indices]
    image_steps = [step for step, of_image in zip(pipeline, wanted, strict=True) if of_image]
    return {
        DECODING: EncodedImages(images, image_steps),
        **{name: Subset(dataset, indices) for name, dataset in whole.items()},
        STREAM: CaptionStreamDataset(dict(shards=list(shards)), cached, shuffle_buffer=0),
    }, indices


def read(dataset: CaptionShardsDataset, index: int) -> dict:
    return dataset.read_sample(dataset.get_data_info(index))


def rate(dataset: Dataset, count: int, workers: int) -> float:
    """Samples per second of a loader, after the first batch of each worker."""
    processes = max(workers, 1)
    batch = max(1, min(16, count // (2 * processes)))
    loader = iter(DataLoader(dataset, batch, num_workers=workers, collate_fn=pseudo_collate))
    for _ in range(processes):
        next(loader)
    start, num_batches = time.perf_counter(), count // batch - processes
    for _ in range(num_batches):
        next(loader)
    return num_batches * batch / (time.perf_counter() - start)


def stage_milliseconds(dataset: Subset) -> dict[str, float]:
    """Median time of each stage of one sample in this process."""
    times: dict[str, list[float]] = {}

    def timed(name: str, function: Callable, *args):
        start = time.perf_counter()
        result = function(*args)
        times.setdefault(name, []).append(1000 * (time.perf_counter() - start))
        return result

    for index in dataset.indices:
        sample = timed('reading', read, dataset.dataset, index)
        for transform in dataset.dataset.pipeline.transforms:
            sample = timed(type(transform).__name__, transform, sample)
    return {stage: statistics.median(values) for stage, values in times.items()}


def measure(args: argparse.Namespace, folder: str) -> dict:
    init_default_scope('mmseg')
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    pipeline = training_pipeline(args.config)
    nouns = next((step for step in pipeline if step['type'].endswith('LoadNouns')), {})
    if args.shards:
        shards = [s for s in expand_shard_paths(args.shards) if os.path.isfile(s)][:MAX_SHARDS]
    else:
        shards = [write_photo_like_shards(folder, args.samples)]
    extraction = NounExtraction(folder, nouns.get('tagger', 'auto'), nouns.get('word_type', 'noun'))
    for shard in shards:
        extraction.tag_shard(shard)
    datasets, indices = make_datasets(shards, pipeline, folder, args.samples)
    if len(indices) < 4 * max(args.workers, 1):
        raise SystemExit(f'expected 4 usable pairs for each worker, but got {len(indices)}')
    rounds = [
        {name: rate(dataset, len(indices), args.workers) for name, dataset in datasets.items()}
        for _ in range(args.repeats + 1)
    ][1:]  # the first is to warm up
    return dict(
        machine=machine_name(),
        data=shards if args.shards else 'photo-like images made by this tool',
        samples=len(indices),
        workers=args.workers,
        tagger=extraction.settings(shards[0]).tagger,
        samples_per_second={
            name: statistics.median(found[name] for found in rounds) for name in datasets
        },
        stage_milliseconds={name: stage_milliseconds(datasets[name]) for name in (TAGGING, CACHED)},
    )


def show(result: dict) -> None:
    title = f'{result["samples"]} samples, {result["workers"]} workers, tagger {result["tagger"]}'
    rates = result['samples_per_second']
    print_table(
        f'{title}, {result["machine"]}\nMedians of rounds that take turns',
        [[name, f'{value:.0f}', value / rates[DECODING]] for name, value in rates.items()],
        ['what', 'samples/s', 'of decoding alone'],
    )
    stages = result['stage_milliseconds']
    rows = [[stage, *(times[stage] for times in stages.values())] for stage in stages[TAGGING]]
    rows.append(['sum', *(sum(times.values()) for times in stages.values())])
    title = 'Milliseconds per sample (medians, one process)'
    print_table(title, rows, ['stage', *stages])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--shards', nargs='+', help='path, brace range, glob, folder; the first two'
    )
    parser.add_argument('--config', default=str(CONFIG), help='whose pipeline is measured')
    parser.add_argument('--workers', type=int, default=0, help='default: 0, this process')
    parser.add_argument('--samples', type=positive, default=500, help='measured in each round')
    parser.add_argument('--repeats', type=positive, default=5, help='rounds; the median counts')
    parser.add_argument('--json', type=Path, help='file for the numbers')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, folder)
    show(result)
    if args.json:
        write_text(args.json, json.dumps(result, indent=4))
        print(f'The numbers are in {args.json}')


if __name__ == '__main__':
    main()
