"""Measure how fast caption samples are loaded: samples/s, and milliseconds of each stage.

Compares, taking turns in one run: decoding and cropping alone; the training pipeline with nouns
tagged on the fly, and with a noun cache; the same as a stream. Without --shards it measures
photo-like images that it makes.

Example:
    python tools/benchmark/data_loading.py --shards data/cc12m/00000.tar --workers 4 --json a.json
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets' / 'cc12m.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--shards', nargs='+', help='path, brace range, glob or folder')
    parser.add_argument('--max-shards', type=int, default=2, help='of them that are used')
    parser.add_argument('--config', default=str(CONFIG), help='whose pipeline is measured')
    parser.add_argument('--tagger', choices=('auto', 'nltk', 'textblob'), help='default: config')
    parser.add_argument('--workers', type=int, default=0, help='default: 0, this process')
    parser.add_argument('--samples', type=int, default=500, help='measured in each round')
    parser.add_argument('--repeats', type=int, default=5, help='rounds, of which the median counts')
    parser.add_argument('--json', type=Path, help='file for the numbers')
    return parser.parse_args()


def training_pipeline(path: str, tagger: str | None) -> list[dict]:
    """The first pipeline of a training config that loads captioned images."""
    from mmengine.config import Config

    def find(node) -> list | None:
        if isinstance(node, dict):
            steps = node.get('pipeline')
            if steps and any('LoadCaptionImage' in step['type'] for step in steps):
                return steps
            node = list(node.values())
        if isinstance(node, list):
            return next(filter(None, map(find, node)), None)
        return None

    pipeline = find(Config.fromfile(path).train_dataloader.to_dict())
    if pipeline is None:
        raise SystemExit(f'--config: expected {path} to load captioned images, but it does not')
    for step in pipeline:
        if tagger and step['type'].endswith('LoadNouns'):
            step['tagger'] = tagger
    return pipeline


def measure(args: argparse.Namespace, folder: str) -> dict:
    import cv2
    import torch
    from loading_speed import CACHED, DECODING, STREAM, TAGGING, LoadingSpeed
    from mmengine.registry import init_default_scope
    from photo_like_shards import write_photo_like_shards

    from code_mm.datasets.preparation.noun_extraction import NounExtraction
    from code_mm.datasets.shards.shard_paths import expand_shard_paths

    init_default_scope('mmseg')
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    pipeline = training_pipeline(args.config, args.tagger)
    if args.shards:
        shards = [s for s in expand_shard_paths(args.shards) if os.path.isfile(s)]
        shards = shards[: args.max_shards]
    else:
        shards = [write_photo_like_shards(folder, args.samples)]
    load = next(step for step in pipeline if step['type'].endswith('LoadNouns'))
    extraction = NounExtraction(folder, load.get('tagger', 'auto'), load.get('word_type', 'noun'))
    for shard in shards:
        extraction.tag_shard(shard)
    speed = LoadingSpeed(shards, pipeline, folder, args.samples, args.workers)
    rates = speed.samples_per_second(args.repeats)
    nouns = speed.noun_milliseconds()
    return dict(
        machine=f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores',
        data=shards if args.shards else 'photo-like images made by this tool',
        samples=len(speed.indices),
        workers=args.workers,
        tagger=extraction.settings(shards[0]).tagger,
        samples_per_second=rates,
        ratios={
            'noun cache / decoding and cropping alone': rates[CACHED] / rates[DECODING],
            'noun cache / tagging on the fly': rates[CACHED] / rates[TAGGING],
            'stream with noun cache / decoding and cropping alone': rates[STREAM] / rates[DECODING],
            'nouns alone: look-up / tagging': nouns['tagging'] / nouns['look-up'],
        },
        stage_milliseconds=speed.stage_milliseconds(),
        noun_milliseconds=nouns,
    )


def print_tables(result: dict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f'{result["samples"]} samples, {result["workers"]} workers, tagger {result["tagger"]}, '
        f'{result["machine"]}'
    )
    table = Table('what', 'samples/s', title='Medians of rounds that take turns')
    for name, rate in result['samples_per_second'].items():
        table.add_row(name, f'{rate:.0f}')
    console.print(table)
    table = Table('ratio of speeds', '', title='Ratios')
    for name, ratio in result['ratios'].items():
        table.add_row(name, f'{ratio:.2f}')
    console.print(table)
    stages = result['stage_milliseconds']
    table = Table('stage', *stages, title='Milliseconds per sample (medians, one process)')
    for stage in next(iter(stages.values())):
        table.add_row(stage, *(f'{times[stage]:.3f}' for times in stages.values()))
    table.add_row('sum', *(f'{sum(times.values()):.3f}' for times in stages.values()))
    console.print(table)


def main() -> None:
    args = parse_args()
    for name in ('samples', 'repeats', 'max_shards'):
        if getattr(args, name) < 1:
            raise SystemExit(f'expected {name} >= 1, but got {getattr(args, name)}')
    if args.samples < 4 * args.workers:
        raise SystemExit(f'expected at least {4 * args.workers} samples for {args.workers} workers')
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, folder)
    print_tables(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=4))
        print(f'The numbers are in {args.json}')


if __name__ == '__main__':
    main()
