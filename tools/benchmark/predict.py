"""Time and memory of predicting one window, of its parts, and images per second of every benchmark.

Times are in U, that of one plain ViT-B/16 forward of the same window (docs/performance.md).

Example: python tools/benchmark/predict.py --json work_dirs/benchmark/predict.json
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager
from unittest.mock import patch

import mmcv
import timing
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from setting import CONFIGS, build_model, load_config, make_parser, positive, prepare, report, run
from timing import MB, UNIT, Stopwatch

import code_mm.datasets  # noqa: F401
from code_mm.vocabulary import Vocabulary, split_names

# Width and height of most images of each benchmark, before they are resized.
IMAGE_SIZES = {
    **dict.fromkeys(('voc21', 'context60', 'voc20', 'context59'), (500, 375)),
    **dict.fromkeys(('coco_object', 'coco_stuff'), (640, 480)),
    'cityscapes': (2048, 1024),
    'ade20k': (683, 512),
}
# What a window is timed with: figure, knowledge-preserving mix, PAMR.
MODES = (
    ('window_u', True, False),
    ('window_no_mix_u', False, False),
    ('window_pamr_u', True, True),
    ('window_no_mix_pamr_u', False, True),
)
# Methods of a CoDe segmentor that make up a prediction, in its order.
PARTS = {
    'backbone.trunk': 'trunk (11 frozen blocks)',
    'image_segmenter.tail.last_block': 'block 12',
    'image_segmenter.decoder.forward': 'decoder',
    'image_segmenter.forward': 'projection',
    'backbone.dense': 'frozen branch',
    'decode_head.predict': 'masks of the classes',
    'decode_head.post_processor.forward': 'PAMR',
    'decode_head.knowledge_preserving.forward': 'mix',
    'decode_head._resize': 'to the size of the window',
}


def name_classes(model: torch.nn.Module, names: Sequence[str]) -> None:
    """Set class names with random embeddings: what they mean costs no time."""
    synonyms = split_names(names, model.background_threshold is not None)
    shape = (sum(map(len, synonyms)), model.backbone.embed_dim)
    device = next(model.parameters()).device
    own, template = (F.normalize(torch.randn(shape, device=device), dim=-1) for _ in range(2))
    model.set_class_names(names)
    model._vocabulary = Vocabulary(
        tuple(names), synonyms, own, model.background_threshold, template
    )


def only(head: torch.nn.Module, mix: bool, pamr: bool) -> AbstractContextManager:
    """Leave out the mix or PAMR for a while."""
    kept = dict(knowledge_preserving=mix, post_processor=pamr)
    return patch.multiple(
        head, **{name: getattr(head, name) if keep else None for name, keep in kept.items()}
    )


def measure_window(args: argparse.Namespace, model: torch.nn.Module, device, dtype) -> dict:
    """Time, memory and parts of one window."""
    name_classes(model, [f'class {i}' for i in range(args.classes)])
    image = torch.randn(args.batch_size, 3, args.window, args.window, device=device)
    metas = [dict(img_shape=tuple(image.shape[2:]))] * len(image)

    def window(mix: bool, pamr: bool) -> torch.Tensor:
        with (
            only(model.decode_head, mix, pamr),
            torch.inference_mode(),
            timing.precision(device, dtype),
        ):
            return model.encode_decode(image, metas)

    def watched_window() -> None:
        watch = Stopwatch(device)
        with watch.watching((model, PARTS)):
            window(mix=True, pamr=True)
        parts.append({part: seconds for (part, _), seconds in watch.seconds().items()})

    parts: list[dict] = []
    works = {UNIT: timing.unit_of(model.backbone.visual, image, dtype)}
    works |= {name: lambda m=mix, p=pamr: window(m, p) for name, mix, pamr in MODES}
    works['parts'] = watched_window
    seconds = timing.time_in_turns(works, args.rounds)
    figures = timing.in_units(seconds)
    whole = figures.pop('parts')
    for name, _, _ in MODES:
        figures[name.removesuffix('u') + 'memory_mb'] = timing.peak_memory(works[name], device) / MB
    figures['unit_seconds'] = statistics.median(seconds[UNIT])
    figures['parts_u'] = timing.parts_in_units(parts[-args.rounds :], whole)
    return figures


def measure_images(args: argparse.Namespace, model: torch.nn.Module, device, dtype) -> dict:
    """Images per second of every benchmark, with its classes and most images' size."""
    benchmarks = Config.fromfile(CONFIGS / 'benchmarks.py').all_benchmarks
    pipeline = Config.fromfile(CONFIGS / 'datasets' / 'evaluation.py').test_pipeline
    scale = tuple(next(step.scale for step in pipeline if step.type == 'Resize'))
    if args.shorter_side:
        scale = (100 * args.shorter_side, args.shorter_side)
    result = {}
    for name in args.benchmarks:
        names = DATASETS.get(benchmarks[name].dataset.type).METAINFO['classes']
        model.set_background_threshold(benchmarks[name].background_threshold)
        name_classes(model, names)
        width, height = IMAGE_SIZES[name]
        side = mmcv.rescale_size((width, height), scale)[::-1]
        image = torch.randn(1, 3, *side, device=device)
        sample = SegDataSample(
            metainfo=dict(ori_shape=(height, width), img_shape=side, pad_shape=side)
        )

        def predict(image=image, sample=sample):
            with torch.inference_mode(), timing.precision(device, dtype):
                return model.predict(image, [sample])

        # on a CPU the windows before have warmed it up
        warmup = int(device.type != 'cpu')
        (seconds,) = timing.time_in_turns(dict(image=predict), rounds=1, warmup=warmup)['image']
        result[name] = dict(
            classes=len(names), height=side[0], width=side[1], images_per_second=1 / seconds
        )
    return result


def measure(args: argparse.Namespace) -> dict:
    device, dtype = prepare(args)
    model = build_model(load_config(args), device).eval()
    figures = measure_window(args, model, device, dtype)
    return dict(figures, benchmarks=measure_images(args, model, device, dtype))


def show(args: argparse.Namespace, figures: dict) -> None:
    rows = [
        [
            'with mix' if mix else 'without mix',
            'on' if pamr else 'off',
            figures[name],
            figures[name] * figures['unit_seconds'],
            figures[name.removesuffix('u') + 'memory_mb'],
        ]
        for name, mix, pamr in MODES
    ]
    columns = ['', 'PAMR', 'U', 'seconds', 'peak memory above the model MB']
    title = f'One window of {args.window} x {args.window}, {args.classes} classes'
    report(args, title, rows, columns)
    parts = figures['parts_u']
    total = sum(parts.values())
    rows = [
        [part, parts[part], f'{parts[part] / total:.1%}']
        for part in (*PARTS.values(), Stopwatch.REST)
        if part in parts
    ]
    report(args, 'Its parts, with mix and PAMR', [*rows, ['sum', total, '100%']], ['', 'U', ''])
    rows = [[name, *keys.values()] for name, keys in figures['benchmarks'].items()]
    columns = ['benchmark', 'classes', 'height', 'width', 'images per second']
    if rows:
        report(args, 'Whole images, one at a time, mix and PAMR as in the config', rows, columns)


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, batch_size=1, rounds=3)
    parser.add_argument('--classes', type=positive, default=150, help='classes of the window')
    parser.add_argument('--window', type=positive, default=448, help='side of a window in pixels')
    parser.add_argument(
        '--benchmarks',
        nargs='*',
        choices=sorted(IMAGE_SIZES),
        default=list(IMAGE_SIZES),
        metavar='NAME',
        help='settings for images per second, none to leave them out; all',
    )
    parser.add_argument('--shorter-side', type=positive, help="in place of the benchmarks' 448")
    return parser


if __name__ == '__main__':
    run(make_options(), measure, show)
