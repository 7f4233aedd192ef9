"""PAMR against its plain formulation, which copies every mask 8 times per dilation.

Both get the same window and masks; results that differ end the run with an error.

Example: python tools/benchmark/pamr.py --json work_dirs/benchmark/pamr.json
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from setting import load_config, make_parser, positive, prepare, report, run
from timing import MB, UNIT, in_units, median_ratio, peak_memory, time_in_turns, unit_of
from torch import Tensor

from code_mm.registry import MODELS

TOLERANCE = 1e-5


def plain_pamr(image: Tensor, mask: Tensor, num_iter: int, dilations: Sequence[int]) -> Tensor:
    """PAMR as the paper writes it (Araslanov & Roth, CVPR 2020), all neighbours at once.

    Args:
        image (Tensor): [b, 3, H, W].
        mask (Tensor): [b, n, h, w].
        num_iter (int), dilations (Sequence[int]): Steps, and distances of the 8 neighbours each.
    """

    def expand(x):
        h, w = x.shape[-2:]
        neighbours = []
        for d in dilations:
            padded = F.pad(x, [d] * 4, mode='replicate')
            for i in range(9):
                if i != 4:
                    top, left = i // 3 * d, i % 3 * d
                    neighbours.append(padded[..., top : top + h, left : left + w])
        return torch.stack(neighbours, 2)  # b c k h w

    image = F.interpolate(image, mask.shape[-2:], mode='bilinear', align_corners=True)
    neighbours, centre = expand(image), image[:, :, None]
    with_centre = torch.cat([neighbours, *[centre] * len(dilations)], 2)
    scale = 1e-8 + 0.1 * with_centre.std(2, keepdim=True)
    affinity = (-(centre - neighbours).abs() / scale).mean(1, keepdim=True).softmax(2)
    for _ in range(num_iter):
        mask = (expand(mask) * affinity).sum(2)
    return mask


@torch.inference_mode()
def measure(args: argparse.Namespace) -> dict:
    """All figures: times in U of that window and in seconds, speed-up, memory."""
    device, dtype = prepare(args)
    cfg = load_config(args).model
    pamr = MODELS.build(cfg.decode_head.post_processor).to(device)
    side = args.window // cfg.backbone.patch_size * 2**cfg.image_segmenter.num_upsamplings
    image = torch.randn(args.batch_size, 3, args.window, args.window, device=device)
    mask = torch.rand(args.batch_size, args.classes, side, side, device=device, dtype=dtype)
    visual = MODELS.build(cfg.backbone).to(device).visual
    works = {
        UNIT: unit_of(visual, image, dtype),
        'pamr': lambda: pamr(image, mask),
        # in half precision its sums would not be worth comparing
        'plain': lambda: plain_pamr(image, mask.float(), pamr.num_iter, pamr.dilations),
    }
    plain = works['plain']().to(dtype).float()
    difference = (works['pamr']().float() - plain).abs().max().item()
    if not difference <= max(TOLERANCE, torch.finfo(dtype).eps):
        raise ValueError(f'expected the same masks within {TOLERANCE}, but got {difference:.2g}')
    seconds = time_in_turns(works, args.rounds, warmup=0)
    units = in_units(seconds)
    figures = dict(difference=difference, grid=side)
    for name in ('pamr', 'plain'):
        figures[f'{name}_u'] = units[name]
        figures[f'{name}_seconds'] = statistics.median(seconds[name])
        figures[f'{name}_memory_mb'] = peak_memory(works[name], device) / MB
    figures['speedup'] = median_ratio(seconds['plain'], seconds['pamr'])
    figures['memory_ratio'] = figures['pamr_memory_mb'] / figures['plain_memory_mb']
    return figures


def show(args: argparse.Namespace, figures: dict) -> None:
    rows = [
        [title, *(figures[f'{name}_{key}'] for key in ('u', 'seconds', 'memory_mb'))]
        for name, title in (('plain', 'plain formulation'), ('pamr', 'PAMR of this project'))
    ]
    columns = ['', 'U of the window', 'seconds', 'extra memory MB']
    title = f'PAMR, {args.classes} classes, grid {figures["grid"]} x {figures["grid"]}'
    report(args, title, rows, columns)
    print(
        f'{figures["speedup"]:.1f} times as fast with {figures["memory_ratio"]:.3f} of the memory; '
        f'largest difference {figures["difference"]:.1g}'
    )


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, batch_size=1, rounds=3)
    parser.add_argument('--classes', type=positive, default=150, help='masks per window')
    parser.add_argument('--window', type=positive, default=448, help='side of a window in pixels')
    return parser


if __name__ == '__main__':
    run(make_options(), measure, show)
