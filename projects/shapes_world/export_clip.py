"""Export a pre-trained small CLIP: runner checkpoint -> fp16 safetensors with OpenAI's names.

Rows of the token embedding that were not trained are zero, so a word outside the training
vocabulary is told by its position only. What is known about the run goes into the file's metadata.

Example:
    python projects/shapes_world/export_clip.py work_dirs/small_clip_shapes/best_*.pth \
        small_clip.safetensors --measure projects/shapes_world/configs/small_clip_shapes.py
"""

import argparse
import json
import os
import platform
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from safetensors.torch import save_file

from code_mm.atomic_write import atomic_write
from code_mm.weights import read_checkpoint
from projects.shapes_world import NounRetrievalMetric, ShapesWorld

VOCAB_SIZE = 49408  # rows of the full token embedding


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a CLIPPretrainer')
    parser.add_argument('out', type=Path, help='safetensors file to write')
    parser.add_argument(
        '--measure',
        metavar='CONFIG',
        help='measure the noun recall of held-out images, easy and hard, with this config',
    )
    parser.add_argument('--metadata', nargs='*', default=[], metavar='KEY=VALUE')
    return parser.parse_args()


def openai_state(state: dict) -> dict:
    """Half-precision tensors under OpenAI's names, token rows at their places."""
    clip = {k.removeprefix('clip.'): v for k, v in state.items() if k.startswith('clip.')}
    if 'text.token_embedding.weight' not in clip:
        raise ValueError(
            f'expected the checkpoint of a CLIPPretrainer, but got tensors {sorted(state)[:3]}'
        )
    if 'token_ids' in state:
        rows = clip['text.token_embedding.weight']
        full = rows.new_zeros(VOCAB_SIZE, rows.shape[1])
        full[state['token_ids']] = rows
        clip['text.token_embedding.weight'] = full
    return {k.removeprefix('text.'): v.detach().half().contiguous() for k, v in clip.items()}


def measure(config: str, state: dict) -> dict:
    """Noun recall of a ``CLIPPretrainer``'s state dict on 1000 held-out images of either level.

    ``config`` is that of the pre-training, whose ``val_dataloader`` is changed to the level.
    """
    figures = {}
    for level in ('easy', 'hard'):
        cfg = Config.fromfile(config)
        cfg.model.nouns = list(ShapesWorld(level).nouns)
        model = MODELS.build(cfg.model).eval()
        model.load_state_dict(state)
        metric = NounRetrievalMetric(cfg.model.nouns)
        dataset = cfg.val_dataloader.dataset
        (source,) = dataset.sources.values()
        source.world.level, source.count = level, 1000
        # unlike validation, no checkpoint was chosen by this split
        dataset.update(split='test', cache_dir=None)
        data = DATASETS.build(dataset)
        for i in range(len(data)):
            samples = model(**model.data_preprocessor(data[i]), mode='predict')
            metric.process(None, [sample.to_dict() for sample in samples])
        for name, value in metric.evaluate(len(data)).items():
            figures[f'{name}_{level}'] = f'{value:.4f}'
    return figures


def main() -> None:
    args = parse_args()
    checkpoint = read_checkpoint(args.checkpoint)
    weights = checkpoint['state_dict']
    state = openai_state(weights)
    # figures are of the weights as written
    rounded = {k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in weights.items()}
    meta = checkpoint.get('meta', {})
    metadata = {
        'format': 'pt',
        **{
            name: str(meta.get(key, 'unknown'))
            for name, key in dict(iteration='iter', seed='seed', written='time').items()
        },
        'machine': f'{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}',
        **(measure(args.measure, rounded) if args.measure else {}),
        **dict(item.split('=', 1) for item in args.metadata),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.out) as unfinished:
        save_file(state, unfinished, metadata)
    print(json.dumps(metadata, indent=2))
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
