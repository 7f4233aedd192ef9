"""Time and memory of one training step, and of every part of it.

Times are in U, that of one plain ViT-B/16 forward of the same batch (docs/performance.md).

Example: python tools/benchmark/train_step.py --json work_dirs/benchmark/train_step.json
"""

from __future__ import annotations

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

SCHEDULE = ROOT / 'configs' / '_base_' / 'schedules' / 'code_50k.py'
# Captions as Conceptual Captions has them, with nouns of each.
CAPTIONS = (
    ('a young woman rides her horse along a sandy beach at sunset', 'woman horse beach sunset'),
    ('grey cat asleep on the sofa next to a pile of books and a lamp', 'cat sofa books lamp'),
    (
        'fans fill the stadium before the first match of the season as players warm up on the '
        'grass under a cloudy sky',
        'fans stadium players grass',
    ),
    ('old wooden boat and fishing nets in the harbour of a small town', 'boat nets harbour town'),
    ('a bowl of soup with bread and a spoon on the kitchen table', 'bowl soup bread spoon'),
    ('snow covers the mountains behind a red house with trees', 'snow mountains house trees'),
    (
        'illustration of a city street with cars, a bus and people who wait in the rain at the '
        'traffic light',
        'street cars bus people',
    ),
    ('close up of a bee on a yellow flower in the garden', 'bee flower garden close'),
)
# Methods of a CoDe segmentor that make up a step, in its order.
PARTS = {
    'preprocessing': ['data_preprocessor.forward'],
    'trunk (11 frozen blocks)': ['backbone.visual.trunk'],
    'block 12': ['image_segmenter.dense_attention.forward'],
    'decoder': ['image_segmenter.decoder.forward'],
    'projection': ['image_segmenter.forward'],
    'masks': ['segment_regions'],
    'highlighted images': ['region_prompt.forward', 'backbone.encode_image'],
    'text: nouns': ['noun_prompt.forward'],
    'text: guides': ['backbone.encode_text'],
    'text: captions': ['segment_words'],
    'text: highlighted': ['embed_highlighted'],
}
OPTIMISER = 'optimiser'


def parse_args():
    parser = make_parser(__doc__, batch_size=4, rounds=3)
    parser.add_argument('--nouns', type=positive, default=2, help='J, nouns per caption (1 to 4)')
    parser.add_argument(
        '--release-memory',
        action='store_true',
        help='on a CPU, give freed memory back to the system as the C library does by default; '
        'tools/train.py keeps it',
    )
    parser.add_argument('--image-size', type=positive, help="pixels; the model's by default")
    return parser.parse_args()


def make_batch(args, model) -> dict:
    """Random images with captions, as the training pipeline packs them."""
    import numpy as np

    from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption

    if args.nouns > 4:
        raise ValueError(f'expected --nouns from 1 to 4, but got {args.nouns}')
    np.random.seed(0)
    length = model.backbone.text.context_length
    tokenize = TokenizeCaption(length, length - model.noun_prompt.num_contexts)
    pack = PackCaptionInputs()
    side = args.image_size or trained_side(model)
    model.data_preprocessor.size = (side, side)  # or smaller images would be padded
    packed = []
    for i in range(args.batch_size):
        caption, nouns = CAPTIONS[i % len(CAPTIONS)]
        image = np.random.randint(0, 256, (side, side, 3), np.uint8)
        fields = dict(img=image, caption=caption, nouns=nouns.split(), sample_key=str(i))
        packed.append(pack(tokenize({**fields, 'selected_nouns': nouns.split()[: args.nouns]})))
    data = {key: [sample[key] for sample in packed] for key in ('inputs', 'data_samples')}
    return model.data_preprocessor.cast_data(data)  # on the device from the beginning


def trained_side(model) -> int:
    """Side in pixels of the images that CLIP was trained on."""
    visual = model.backbone.visual
    return visual.patch_size * visual.base_grid


class TrainStep:
    """Forward, backward and optimiser step, as ``model.train_step`` does them."""

    def __init__(self, model, optim_wrapper, data: dict, device, dtype) -> None:
        self.model, self.optim_wrapper, self.data = model, optim_wrapper, data
        self.device, self.dtype = device, dtype

    def __call__(self, watch=None) -> None:
        from timing import precision

        data = self.model.data_preprocessor(self.data, True)
        # MMEngine's mixed precision refuses a CPU.
        with self.optim_wrapper.optim_context(self.model), precision(self.device, self.dtype):
            losses = self.model(**data, mode='loss')
        loss, _ = self.model.parse_losses(losses)
        if watch is not None:
            watch.watch_backward(loss)
        self.optim_wrapper.update_params(loss)

    def parts(self) -> dict:
        """Seconds of one step by (part, phase)."""
        from stopwatch import REST, Stopwatch, watched

        watch = Stopwatch(self.device)
        losses = {f'loss {n}': [f'losses.{n}.forward'] for n in self.model.losses}
        with (
            watched(watch, self.model, {**PARTS, **losses}),
            watched(watch, self.optim_wrapper, {OPTIMISER: ['step', 'zero_grad']}),
        ):
            watch.mark(REST)
            self(watch)
            watch.mark(REST)
        return watch.seconds()


def build_step(args):
    """The step of these options, and the unit beside it."""
    import torch
    from mmengine.config import Config
    from mmengine.optim import build_optim_wrapper
    from timing import unit_of

    from code_mm.engine.every_run import keep_freed_memory

    device, dtype = prepare(args)
    if device.type == 'cpu' and not args.release_memory:
        keep_freed_memory()
    cfg = load_config(args)
    model = build_model(cfg, device).train()
    wrapper = cfg.get('optim_wrapper') or Config.fromfile(SCHEDULE).optim_wrapper
    amp = device.type != 'cpu' and dtype != torch.float32
    wrapper.update(type='AmpOptimWrapper' if amp else 'OptimWrapper')
    for key in ('dtype', 'loss_scale', 'use_fsdp'):
        wrapper.pop(key, None)
    if amp:
        scale = dict(loss_scale='dynamic') if dtype == torch.float16 else {}
        wrapper.update(dtype=str(dtype).removeprefix('torch.'), **scale)
    step = TrainStep(
        model, build_optim_wrapper(model, wrapper), make_batch(args, model), device, dtype
    )
    side = trained_side(model)
    image = torch.randn(args.batch_size, 3, side, side, device=device)
    return step, unit_of(model.backbone.visual, image, dtype)


def state_bytes(optimizer) -> int:
    """Bytes that the optimiser keeps between steps."""
    import torch

    values = [v for state in optimizer.state.values() for v in state.values()]
    return sum(v.numel() * v.element_size() for v in values if torch.is_tensor(v))


def measure(args) -> dict:
    """All figures: the step in U and seconds, its parts in U, its memory in MB."""
    from timing import MB, UNIT, in_units, peak_memory, shares, time_in_turns

    step, unit = build_step(args)
    parts: list[dict] = []
    works = {UNIT: unit, 'step': lambda: parts.append(step.parts())}
    if step.device.type != 'cpu':  # where launching limits the speed, watching costs time
        works = {UNIT: unit, 'step': step, 'watched': works['step']}
    seconds = time_in_turns(works, step.device, args.rounds)
    units = in_units(seconds)
    memory = peak_memory(step, step.device)
    optimiser = state_bytes(step.optim_wrapper.optimizer)
    return dict(
        step_u=units['step'],
        step_seconds=statistics.median(seconds['step']),
        unit_seconds=statistics.median(seconds[UNIT]),
        samples_per_second=args.batch_size / statistics.median(seconds['step']),
        step_memory_mb=(memory + optimiser) / MB,
        optimiser_state_mb=optimiser / MB,
        parts_u={
            f'{part}, {phase}': share * units['step']
            for (part, phase), share in shares(parts[-args.rounds :]).items()
        },
    )


def table_of(figures: dict) -> list[list]:
    """Rows part, forward, backward, both, share."""
    parts: dict = {}
    for label, units in figures['parts_u'].items():
        part, phase = label.rsplit(', ', 1)
        parts.setdefault(part, dict(forward=0.0, backward=0.0))[phase] = units
    order = [*PARTS, *(p for p in parts if p.startswith('loss ')), 'rest', OPTIMISER]
    total = sum(figures['parts_u'].values())
    rows = []
    for part in sorted(parts, key=order.index):
        forward, backward = parts[part]['forward'], parts[part]['backward']
        both = forward + backward
        units = [f'{x:.3f}' for x in (forward, backward, both)]
        if part == OPTIMISER:
            units[:2] = '', ''
        rows.append([part, *units, f'{both / total:.1%}'])
    rows.append(['sum of the parts', '', '', f'{total:.2f}', '100%'])
    rows.append(['whole step', '', '', f'{figures["step_u"]:.2f}', ''])
    return rows


def main() -> None:
    args = parse_args()
    figures = measure(args)
    columns = ['part', 'forward U', 'backward U', 'both U', 'share']
    report(args, f'Training step, {args.nouns} nouns per caption', table_of(figures), columns)
    print(
        f'step: {figures["step_u"]:.2f} U = {figures["step_seconds"]:.3f} s '
        f'(U = {figures["unit_seconds"]:.3f} s), {figures["samples_per_second"]:.1f} pairs/s\n'
        f'peak memory above the model: {figures["step_memory_mb"]:.0f} MB, of which the '
        f"optimiser's state {figures['optimiser_state_mb']:.0f} MB"
    )
    write_json(args, figures)


if __name__ == '__main__':
    run_or_explain(main)
