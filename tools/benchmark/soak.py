"""Train for hours on a stream of shards of which one sample in twenty is unusable.

A small CoDe in mixed precision (bfloat16 on a CPU, float16 on a GPU). Shows whether memory stays
flat and every skipped sample is counted under its own reason; ends with status 1 where not. The
checkpoints are ordinary ones: run it again with --resume after a stop.

Example:
    python tools/benchmark/soak.py --minutes 120 --work-dir work_dirs/soak
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from photo_like_shards import photo_like_samples
from webdataset import TarWriter

import code_mm  # noqa: F401 (registers its parts)
from code_mm.atomic_write import atomic_write

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'projects' / 'shapes_world' / 'configs' / 'code_photo-shards.py'
SHARDS, SAMPLES_PER_SHARD, WORKERS, SHUFFLE_BUFFER = 8, 100, 2, 10
SIDE = 96  # pixels of the images; smaller ones load faster
# Reason -> what is written in place of a good sample: one of each in every shard.
BAD = dict(
    broken_image=lambda image, text: dict(jpg=image[: len(image) // 2], txt=text),
    missing_image=lambda image, text: dict(txt=text),
    missing_caption=lambda image, text: dict(jpg=image),
    empty_caption=lambda image, text: dict(jpg=image, txt=b' '),
    bad_caption=lambda image, text: dict(jpg=image, txt=bytes(range(128, 192))),
)
LARGEST_GROWTH = 0.02  # of the last quarter's memory beyond the first quarter's
WARM_UP = 0.04  # share of the run that is left out: buffers fill, workers start


def write_shards(folder: Path) -> None:
    """Shards of 95 good samples and 5 bad ones each."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = photo_like_samples(SHARDS * SAMPLES_PER_SHARD)
    for number in range(SHARDS):
        with (
            atomic_write(str(folder / f'{number:05d}.tar')) as temporary,
            open(temporary, 'wb') as stream,
            TarWriter(stream, encoder=False, mtime=0) as tar,
        ):
            for position in range(SAMPLES_PER_SHARD):
                sample = next(samples)
                image = cv2.imdecode(np.frombuffer(sample.image, np.uint8), cv2.IMREAD_COLOR)
                image = cv2.imencode('.jpg', cv2.resize(image, (SIDE, SIDE)))[1].tobytes()
                members = dict(jpg=image, txt=sample.caption.encode())
                kind, rest = divmod(position, SAMPLES_PER_SHARD // len(BAD))
                if rest == 0:
                    members = list(BAD.values())[kind](image, members['txt'])
                tar.write({'__key__': f'{number:05d}{position:04d}', **members})


def memory_of_run() -> float:
    """MiB of this process and its workers; pages that they share count once."""
    processes = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    total = 0
    for process in processes:
        lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    return total / 1024


class SoakHook(Hook):
    """Notes memory and counts every few seconds; ends the training when the time is up."""

    def __init__(self, seconds: float, interval: float) -> None:
        self.seconds, self.interval = seconds, interval
        self.rows: list[dict] = []

    def before_train(self, runner) -> None:
        self._start = time.monotonic()
        self._next = 0.0
        self.ledger = runner.train_dataloader.dataset.ledger

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if not torch.isfinite(outputs['loss']):
            raise RuntimeError(f'the loss is {outputs["loss"].item()} at step {runner.iter}')
        now = time.monotonic() - self._start
        if now >= self._next:
            self._next = now + self.interval
            row = dict(seconds=round(now, 1), step=runner.iter + 1, mib=round(memory_of_run(), 1))
            if torch.cuda.is_available():
                row['gpu_mib'] = round(torch.cuda.memory_reserved() / 2**20, 1)
            self.rows.append(row)
        if now >= self.seconds:
            runner.train_loop.stop_training = True


def soak_config(shards: Path, work_dir: Path) -> Config:
    """The small photo config on a stream, in mixed precision."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(work_dir)
    cfg.train_dataloader = dict(
        batch_size=8,
        num_workers=WORKERS,
        sampler=None,
        dataset=dict(
            type='CaptionStreamDataset',
            sources=dict(data_root=str(shards), shards='*.tar'),
            shuffle_buffer=SHUFFLE_BUFFER,
            pipeline=cfg.train_dataloader.dataset.pipeline,
        ),
    )
    dtype = 'float16' if torch.cuda.is_available() else 'bfloat16'
    cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=dtype)
    cfg.train_cfg.update(max_iters=10**8, val_interval=10**9)
    cfg.default_hooks.checkpoint.update(interval=1000, max_keep_ckpts=2)
    cfg.default_hooks.logger.update(interval=200)
    cfg.default_hooks.stream_position = dict(type='StreamPositionHook', interval=1000)
    return cfg


def verdict(hook: SoakHook) -> dict:
    """Whether memory is flat, and whether what was skipped is what was put in."""
    end = hook.rows[-1]['seconds']
    usual = [row for row in hook.rows if row['seconds'] >= WARM_UP * end]
    quarter = max(1, len(usual) // 4)
    first = np.mean([row['mib'] for row in usual[:quarter]])
    last = np.mean([row['mib'] for row in usual[-quarter:]])
    opened = hook.ledger.num_shards
    counts = hook.ledger.counts()
    # one of each kind in every shard; what each worker has open or waiting is not yet counted
    least = opened - WORKERS * (1 + SHUFFLE_BUFFER)
    exact = counts.keys() == BAD.keys() and all(least <= n <= opened for n in counts.values())
    return dict(
        hours=round(end / 3600, 3),
        steps=hook.rows[-1]['step'] - hook.rows[0]['step'],
        first_quarter_mib=round(float(first), 1),
        last_quarter_mib=round(float(last), 1),
        growth=round(float(last / first - 1), 4),
        is_flat=bool(last / first - 1 <= LARGEST_GROWTH),
        shards_opened=opened,
        skipped=counts,
        every_skip_counted=exact,
    )


def draw(rows: Sequence[dict], path: Path) -> None:
    """Memory over time."""
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout='constrained')
    axes.plot([row['seconds'] / 60 for row in rows], [row['mib'] for row in rows])
    axes.set(xlabel='minutes', ylabel='MiB of training and workers', ylim=(0, None))
    with atomic_write(str(path)) as temporary:
        figure.savefig(temporary, format='png', dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=120, help='of training; 120')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/soak'))
    parser.add_argument('--interval', type=float, default=10, help='seconds between two notes')
    parser.add_argument('--resume', action='store_true', help='go on from the last checkpoint')
    options = parser.parse_args()
    shards = options.work_dir / 'shards'
    write_shards(shards)
    cfg = soak_config(shards, options.work_dir)
    cfg.resume = options.resume
    runner = Runner.from_cfg(cfg)
    hook = SoakHook(60 * options.minutes, options.interval)
    runner.register_hook(hook, 'VERY_LOW')
    runner.train()
    found = verdict(hook)
    with atomic_write(str(options.work_dir / 'soak.json')) as temporary:
        Path(temporary).write_text(json.dumps(dict(found, notes=hook.rows), indent=1))
    draw(hook.rows, options.work_dir / 'soak.png')
    runner.logger.info(f'{json.dumps(found, indent=1)}\nin {options.work_dir}/soak.json and .png')
    sys.exit(0 if found['is_flat'] and found['every_skip_counted'] else 1)


if __name__ == '__main__':
    main()
