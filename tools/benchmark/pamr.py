"""PAMR against its plain formulation, which copies every mask 8 times per dilation.

Both get the same window and masks; results that differ end the run with an error.

Example: python tools/benchmark/pamr.py --json work_dirs/benchmark/pamr.json
"""

from __future__ import annotations

import statistics

from setting import load_config, make_parser, positive, prepare, report, run_or_explain, write_json

TOLERANCE = 1e-5


def plain_pamr(image, mask, num_iter: int, dilations):
    """PAMR as the paper writes it (Araslanov & Roth, CVPR 2020), all neighbours at once.

    Args:
        image (Tensor): [b, 3, H, W].
        mask (Tensor): [b, n, h, w].
        num_iter (int): Steps.
        dilations (Sequence[int]): Distances of the 8 neighbours each.
    """
    import torch
    import torch.nn.functional as F

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


def parse_args():
    parser = make_parser(__doc__, batch_size=1, rounds=3)
    parser.add_argument('--classes', type=positive, default=150, help='masks per window')
    parser.add_argument('--window', type=positive, default=448, help='side of a window in pixels')
    return parser.parse_args()


def measure(args) -> dict:
    """All figures: times in U of that window and in seconds, speed-up, memory."""
    import torch
    from timing import MB, UNIT, in_units, peak_memory, time_in_turns, unit_of

    from code_mm.registry import MODELS

    device, dtype = prepare(args)
    cfg = load_config(args).model
    pamr = MODELS.build(cfg.decode_head.post_processor).to(device)
    side = args.window // cfg.backbone.patch_size * 2**cfg.image_segmenter.num_upsamplings
    image = torch.randn(args.batch_size, 3, args.window, args.window, device=device)
    mask = torch.rand(args.batch_size, args.classes, side, side, device=device, dtype=dtype)
    visual = MODELS.build(cfg.backbone).to(device).visual

    def plain():
        # in half precision its sums would not be worth comparing
        return plain_pamr(image, mask.float(), pamr.num_iter, pamr.dilations)

    def ours():
        return pamr(image, mask)

    with torch.inference_mode():
        difference = (ours().float() - plain().to(dtype).float()).abs().max().item()
        if not difference <= max(TOLERANCE, torch.finfo(dtype).eps):
            raise ValueError(
                f'expected the same masks within {TOLERANCE}, but got {difference:.2g}'
            )
        works = {UNIT: unit_of(visual, image, dtype), 'pamr': ours, 'plain': plain}
        seconds = time_in_turns(works, device, args.rounds, warmup=0)
        memory = {name: peak_memory(works[name], device) / MB for name in ('pamr', 'plain')}
    units = in_units(seconds)
    pairs = zip(seconds['plain'], seconds['pamr'], strict=True)
    return dict(
        speedup=statistics.median(slow / fast for slow, fast in pairs),
        memory_ratio=memory['pamr'] / memory['plain'],
        pamr_u=units['pamr'],
        plain_u=units['plain'],
        pamr_seconds=statistics.median(seconds['pamr']),
        plain_seconds=statistics.median(seconds['plain']),
        pamr_memory_mb=memory['pamr'],
        plain_memory_mb=memory['plain'],
        difference=difference,
        grid=side,
    )


def main() -> None:
    args = parse_args()
    figures = measure(args)
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
    write_json(args, figures)


if __name__ == '__main__':
    run_or_explain(main)
