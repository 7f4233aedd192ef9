"""Time and memory of predicting one window, of its parts, and images per second of every benchmark.

Times are in U, that of one plain ViT-B/16 forward of the same window (docs/performance.md).

Example: python tools/benchmark/predict.py --json work_dirs/benchmark/predict.json
"""

from __future__ import annotations

import contextlib
import statistics

from setting import (
    ROOT,
    build_model,
    load_config,
    make_parser,
    positive,
    prepare,
    report,
    run_or_explain,
    write_json,
)

# Width and height of most images of each benchmark, before they are resized.
IMAGE_SIZES = dict(
    voc21=(500, 375),
    context60=(500, 375),
    coco_object=(640, 480),
    voc20=(500, 375),
    context59=(500, 375),
    coco_stuff=(640, 480),
    cityscapes=(2048, 1024),
    ade20k=(683, 512),
)
# What a window is timed with: figure, knowledge-preserving mix, PAMR.
MODES = (
    ('window_u', True, False),
    ('window_no_mix_u', False, False),
    ('window_pamr_u', True, True),
    ('window_no_mix_pamr_u', False, True),
)
# Methods of a CoDe segmentor that make up a prediction, in its order.
PARTS = {
    'trunk (11 frozen blocks)': ['backbone.visual.trunk'],
    'block 12': ['image_segmenter.dense_attention.forward'],
    'decoder': ['image_segmenter.decoder.forward'],
    'projection': ['image_segmenter.forward'],
    'frozen branch': ['backbone.visual.dense'],
    'masks of the classes': ['decode_head.predict'],
    'PAMR': ['decode_head.post_processor.forward'],
    'mix': ['decode_head.knowledge_preserving.forward'],
    'to the size of the window': ['decode_head.predict_by_feat'],
}


def parse_args():
    parser = make_parser(__doc__, batch_size=1, rounds=3)
    parser.add_argument('--classes', type=positive, default=150, help='classes of the window')
    parser.add_argument('--window', type=positive, default=448, help='side of a window in pixels')
    parser.add_argument(
        '--benchmarks', nargs='*', choices=sorted(IMAGE_SIZES), default=list(IMAGE_SIZES),
        metavar='NAME', help='settings for images per second, none to leave them out; all',
    )  # fmt: skip
    parser.add_argument('--shorter-side', type=positive, help="in place of the benchmarks' 448")
    return parser.parse_args()


def name_classes(model, names: list[str]) -> None:
    """Class names with random embeddings: what they mean costs no time."""
    import torch
    import torch.nn.functional as F

    head = model.decode_head
    shape = (len(head.phrases(names)), model.backbone.embed_dim)
    device = next(model.parameters()).device
    embeddings = (F.normalize(torch.randn(shape, device=device), dim=-1) for _ in range(2))
    head.set_class_embeddings(names, *embeddings)
    model.num_classes, model.out_channels = head.num_classes, head.out_channels


@contextlib.contextmanager
def only(head, mix: bool, pamr: bool):
    """Leave out the mix or PAMR for a while."""
    kept = head.knowledge_preserving, head.post_processor
    if not mix:
        head.knowledge_preserving = None
    if not pamr:
        head.post_processor = None
    try:
        yield
    finally:
        head.knowledge_preserving, head.post_processor = kept


def measure_window(args, model, device, dtype) -> dict:
    """Time, memory and parts of one window."""
    import torch
    from stopwatch import REST, Stopwatch, watched
    from timing import MB, UNIT, in_units, peak_memory, precision, shares, time_in_turns, unit_of

    name_classes(model, [f'class {i}' for i in range(args.classes)])
    image = torch.randn(args.batch_size, 3, args.window, args.window, device=device)
    metas = [dict(img_shape=tuple(image.shape[2:]))] * len(image)

    def window(mix: bool, pamr: bool, parts: list | None = None):
        with only(model.decode_head, mix, pamr), contextlib.ExitStack() as stack:
            if parts is not None:
                watch = Stopwatch(device)
                stack.enter_context(watched(watch, model, PARTS))
                watch.mark(REST)
            scores = predict_window()
        if parts is not None:
            watch.mark(REST)
            parts.append({part: seconds for (part, _), seconds in watch.seconds().items()})
        return scores

    def predict_window():
        with torch.inference_mode(), precision(device, dtype):
            return model.encode_decode(image, metas)

    parts: list[dict] = []
    works = {UNIT: unit_of(model.backbone.visual, image, dtype)}
    works |= {name: lambda m=mix, p=pamr: window(m, p) for name, mix, pamr in MODES}
    works['parts'] = lambda: window(True, True, parts)
    seconds = time_in_turns(works, device, args.rounds)
    figures = in_units(seconds)
    whole = figures.pop('parts')
    for name, mix, pamr in MODES:
        memory = peak_memory(lambda m=mix, p=pamr: window(m, p), device)
        figures[name.removesuffix('u') + 'memory_mb'] = memory / MB
    figures['unit_seconds'] = statistics.median(seconds[UNIT])
    figures['parts_u'] = {
        part: share * whole for part, share in shares(parts[-args.rounds :]).items()
    }
    return figures


def measure_images(args, model, device, dtype) -> dict:
    """Images per second of every benchmark, with its classes and most images' size."""
    import mmcv
    import torch
    from mmengine.config import Config
    from mmseg.registry import DATASETS
    from mmseg.structures import SegDataSample
    from timing import precision, time_in_turns

    import code_mm.datasets  # noqa: F401

    configs = ROOT / 'configs' / '_base_'
    cfg = Config.fromfile(configs / 'benchmarks.py')
    pipeline = Config.fromfile(configs / 'datasets' / 'evaluation.py').test_pipeline
    scale = next(t.scale for t in pipeline if t.type == 'Resize')
    scale = (100 * args.shorter_side, args.shorter_side) if args.shorter_side else tuple(scale)
    result = {}
    for name in args.benchmarks:
        benchmark = cfg.all_benchmarks[name]
        names = list(DATASETS.get(benchmark.dataset.type).METAINFO['classes'])
        model.set_background_threshold(benchmark.background_threshold)
        name_classes(model, names)
        width, height = IMAGE_SIZES[name]
        side = mmcv.rescale_size((width, height), scale)[::-1]
        image = torch.randn(1, 3, *side, device=device)
        meta = dict(ori_shape=(height, width), img_shape=side, pad_shape=side)

        def predict(image=image, meta=meta):
            with torch.inference_mode(), precision(device, dtype):
                return model.predict(image, [SegDataSample(metainfo=meta)])

        # on a CPU the windows before have warmed it up
        warmup = int(device.type != 'cpu')
        seconds = time_in_turns({name: predict}, device, rounds=1, warmup=warmup)[name][0]
        result[name] = dict(
            classes=len(names), height=side[0], width=side[1], images_per_second=1 / seconds
        )
    return result


def main() -> None:
    args = parse_args()
    device, dtype = prepare(args)
    model = build_model(load_config(args), device).eval()
    figures = measure_window(args, model, device, dtype)
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
    total = sum(figures['parts_u'].values())
    order = [*PARTS, 'rest']
    rows = [
        [part, figures['parts_u'][part], f'{figures["parts_u"][part] / total:.1%}']
        for part in sorted(figures['parts_u'], key=order.index)
    ]
    report(args, 'Its parts, with mix and PAMR', [*rows, ['sum', total, '100%']], ['', 'U', ''])
    figures['benchmarks'] = measure_images(args, model, device, dtype)
    rows = [[name, *keys.values()] for name, keys in figures['benchmarks'].items()]
    columns = ['benchmark', 'classes', 'height', 'width', 'images per second']
    if rows:
        report(args, 'Whole images, one at a time, mix and PAMR as in the config', rows, columns)
    write_json(args, figures)


if __name__ == '__main__':
    run_or_explain(main)
