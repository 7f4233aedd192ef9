"""Time and memory of one training step, and of every part of it.

Times are in U, that of one plain ViT-B/16 forward of the same batch (docs/performance.md).

Example: python tools/benchmark/train_step.py --json work_dirs/benchmark/train_step.json
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import timing
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from setting import CONFIGS, build_model, load_config, make_parser, positive, prepare, report, run
from timing import MB, UNIT, Stopwatch

from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption
from code_mm.engine.every_run import fuse_where_possible, keep_freed_memory
from code_mm.models.co_decomposition import CoDecompositionStep
from code_mm.ops.upsampling_convolution import conv3x3_after_upsampling_reference

# Captions as Conceptual Captions has them, with nouns of each.
CAPTIONS = {
    'a young woman rides her horse along a sandy beach at sunset': 'woman horse beach sunset',
    'grey cat asleep on the sofa next to a pile of books and a lamp': 'cat sofa books lamp',
    'fans fill the stadium before the first match of the season as players warm up on the grass '
    'under a cloudy sky': 'fans stadium players grass',
    'old wooden boat and fishing nets in the harbour of a small town': 'boat nets harbour town',
}
# Parts of a step, in its order: methods of a CoDe segmentor, and values of its step.
PARTS = {
    'data_preprocessor.forward': 'preprocessing',
    'backbone.trunk': 'trunk (11 frozen blocks)',
    'image_segmenter.tail.last_block': 'block 12',
    'image_segmenter.decoder.forward': 'decoder',
    'image_segmenter.forward': 'projection',
}
_MASKS = ('similarity', 'masks', 'own_similarity', 'own_masks', 'hard_masks', 'negative_area')
VALUES = {
    **dict.fromkeys([*_MASKS, 'pooled'], 'masks'),
    'region_embed': 'highlighted images',
    'nouns': 'text: nouns',
    'guide': 'text: guides',
    'word_logits': 'text: captions',
    'word_masks': 'text: captions',
    'text_embed': 'text: highlighted',
}
# Tricks of code_mm.ops where they are used, and their plain forms.
PLAIN_FORMS = {
    'code_mm.models.segmenters.image_segmenter.conv3x3_after_upsampling': (
        conv3x3_after_upsampling_reference
    ),
}
OPTIMISER = 'optimiser'


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, batch_size=4, rounds=3)
    parser.add_argument('--nouns', type=positive, default=2, help='J, nouns per caption (1 to 4)')
    parser.add_argument(
        '--release-memory',
        action='store_true',
        help='on a CPU, give freed memory back to the system as the C library does by default; '
        'tools/train.py keeps it',
    )
    parser.add_argument('--image-size', type=positive, help="pixels; the model's by default")
    parser.add_argument(
        '--plain-forms',
        action='store_true',
        help='also time the step with every trick of code_mm.ops in its plain form',
    )
    return parser


def make_batch(args: argparse.Namespace, model: torch.nn.Module) -> dict:
    """Random images with captions, as the training pipeline packs them, on the device."""
    if args.nouns > 4:
        raise ValueError(f'expected --nouns from 1 to 4, but got {args.nouns}')
    rng = np.random.default_rng(0)
    np.random.seed(0)  # of the guides' templates
    length = model.backbone.context_length
    tokenize = TokenizeCaption(length, length - model.noun_prompt.num_contexts)
    pack = PackCaptionInputs()
    side = args.image_size or trained_side(model)
    model.data_preprocessor.size = (side, side)  # or smaller images would be padded
    packed = []
    for i in range(args.batch_size):
        caption, nouns = list(CAPTIONS.items())[i % len(CAPTIONS)]
        image = rng.integers(0, 256, (side, side, 3), np.uint8)
        fields = dict(img=image, caption=caption, nouns=nouns.split(), sample_key=str(i))
        packed.append(pack(tokenize({**fields, 'selected_nouns': nouns.split()[: args.nouns]})))
    data = {key: [sample[key] for sample in packed] for key in ('inputs', 'data_samples')}
    return model.data_preprocessor.cast_data(data)


def trained_side(model: torch.nn.Module) -> int:
    """Side in pixels of the images that CLIP was trained on."""
    visual = model.backbone.visual
    return visual.patch_size * visual.base_grid


class TrainStep:
    """Forward, backward and optimiser step, as ``model.train_step`` does them."""

    def __init__(self, model, optim_wrapper, data: dict, device, dtype) -> None:
        self.model, self.optim_wrapper, self.data = model, optim_wrapper, data
        self.device, self.dtype = device, dtype

    def __call__(self, watch: Stopwatch | None = None) -> None:
        data = self.model.data_preprocessor(self.data, True)
        # MMEngine's mixed precision refuses a CPU.
        with (
            self.optim_wrapper.optim_context(self.model),
            timing.precision(self.device, self.dtype),
        ):
            losses = self.model(**data, mode='loss')
        loss, _ = self.model.parse_losses(losses)
        if watch is not None:
            watch.watch_backward(loss)
        self.optim_wrapper.update_params(loss)

    def parts(self) -> dict[tuple[str, str], float]:
        """Seconds of one step by (part, phase)."""
        watch, names = Stopwatch(self.device), self.model.co_decomposition.losses
        losses = {f'co_decomposition.losses.{name}.forward': f'loss {name}' for name in names}
        with watch.watching(
            (self.model, {**PARTS, **losses}),
            (CoDecompositionStep, VALUES),
            (self.optim_wrapper, dict.fromkeys(['step', 'zero_grad'], OPTIMISER)),
        ):
            self(watch)
        return watch.seconds()


def build_step(args: argparse.Namespace) -> tuple[TrainStep, Callable]:
    """The step of these options, and the unit beside it."""
    device, dtype = prepare(args)
    if device.type == 'cpu' and not args.release_memory:
        keep_freed_memory()
    cfg = load_config(args)
    model = build_model(cfg, device).train()
    schedule = CONFIGS / 'schedules' / 'code_50k.py'
    wrapper = cfg.get('optim_wrapper') or Config.fromfile(schedule).optim_wrapper
    if device.type == 'cpu':
        fuse_where_possible(wrapper)
    for key in ('dtype', 'loss_scale', 'use_fsdp'):
        wrapper.pop(key, None)
    wrapper.type = 'OptimWrapper'
    if device.type != 'cpu' and dtype != torch.float32:
        wrapper.update(type='AmpOptimWrapper', dtype=str(dtype).removeprefix('torch.'))
        if dtype == torch.float16:
            wrapper.loss_scale = 'dynamic'
    data = make_batch(args, model)
    step = TrainStep(model, build_optim_wrapper(model, wrapper), data, device, dtype)
    side = trained_side(model)
    image = torch.randn(args.batch_size, 3, side, side, device=device)
    return step, timing.unit_of(model.backbone.visual, image, dtype)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes that the optimiser keeps between steps."""
    values = [v for state in optimizer.state.values() for v in state.values()]
    return sum(v.numel() * v.element_size() for v in values if torch.is_tensor(v))


def measure(args: argparse.Namespace) -> dict:
    """All figures: the step in U and seconds, its parts in U, its memory in MB."""
    step, unit = build_step(args)
    parts: list[dict] = []
    works = {UNIT: unit, 'step': lambda: parts.append(step.parts())}
    if step.device.type != 'cpu':  # where launching limits the speed, watching costs time
        works = {UNIT: unit, 'step': step, 'watched': works['step']}
    if args.plain_forms:
        works |= {path: patch(path, plain)(lambda: step()) for path, plain in PLAIN_FORMS.items()}
    seconds = timing.time_in_turns(works, args.rounds)
    units = timing.in_units(seconds)
    memory = timing.peak_memory(step, step.device)
    optimiser = state_bytes(step.optim_wrapper.optimizer)
    whole = statistics.median(seconds['step'])
    parts_u = timing.parts_in_units(parts[-args.rounds :], units['step'])
    return dict(
        step_u=units['step'],
        step_seconds=whole,
        unit_seconds=statistics.median(seconds[UNIT]),
        samples_per_second=args.batch_size / whole,
        step_memory_mb=(memory + optimiser) / MB,
        optimiser_state_mb=optimiser / MB,
        parts_u={f'{part}, {phase}': u for (part, phase), u in parts_u.items()},
        plain_forms={
            path.rpartition('.')[2]: timing.median_ratio(seconds[path], seconds['step'])
            for path in PLAIN_FORMS
            if path in seconds
        },
    )


def table_of(figures: dict) -> list[list]:
    """Rows part, forward, backward, both, share."""
    parts: dict[str, dict[str, float]] = {}
    for label, units in figures['parts_u'].items():
        part, phase = label.rsplit(', ', 1)
        parts.setdefault(part, {})[phase] = units
    losses = [part for part in parts if part.startswith('loss ')]
    order = [*PARTS.values(), *VALUES.values(), *losses, Stopwatch.REST, OPTIMISER]
    total = sum(figures['parts_u'].values())
    rows = []
    for part in sorted(parts, key=order.index):
        phases = [f'{parts[part].get(phase, 0):.3f}' for phase in ('forward', 'backward')]
        both = sum(parts[part].values())
        rows.append([part, *phases, f'{both:.3f}', f'{both / total:.1%}'])
    rows.append(['sum of the parts', '', '', f'{total:.2f}', '100%'])
    rows.append(['whole step', '', '', f'{figures["step_u"]:.2f}', ''])
    return rows


def show(args: argparse.Namespace, figures: dict) -> None:
    columns = ['part', 'forward U', 'backward U', 'both U', 'share']
    report(args, f'Training step, {args.nouns} nouns per caption', table_of(figures), columns)
    print(
        f'step: {figures["step_u"]:.2f} U = {figures["step_seconds"]:.3f} s '
        f'(U = {figures["unit_seconds"]:.3f} s), {figures["samples_per_second"]:.1f} pairs/s\n'
        f'peak memory above the model: {figures["step_memory_mb"]:.0f} MB, of which the '
        f"optimiser's state {figures['optimiser_state_mb']:.0f} MB"
    )
    for name, ratio in figures['plain_forms'].items():
        print(f'with the plain form of {name}: {ratio:.3f} times the step')


if __name__ == '__main__':
    run(make_options(), measure, show)
