"""Export a pre-trained small CLIP: runner checkpoint -> fp16 safetensors with OpenAI's names.

Rows of the token embedding that were not trained are zero, so a word outside the training
vocabulary is told by its position only. What is known about the run goes into the file's metadata.

Example:
    python tools/model_converters/export_clip.py work_dirs/small_clip_shapes/best_*.pth \
        configs/clip/weights/small_clip_shapes.safetensors --vocab-size 49408 \
        --metadata config=configs/clip/small_clip_shapes.py noun_recall_hard=0.81
"""

import argparse
import json
import platform
from pathlib import Path

import torch
from safetensors.torch import save_file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a CLIPPretrainer')
    parser.add_argument('out', type=Path, help='safetensors file to write')
    parser.add_argument('--vocab-size', type=int, default=49408, help='rows of the full embedding')
    parser.add_argument('--dtype', choices=('float16', 'float32'), default='float16')
    parser.add_argument('--metadata', nargs='*', default=[], metavar='KEY=VALUE')
    return parser.parse_args()


def openai_state(state: dict, vocab_size: int, dtype: torch.dtype) -> dict:
    """Tensors of a CLIPPretrainer under OpenAI's names, token rows at their places.

    Args:
        state: State dict of a ``CLIPPretrainer``.
        vocab_size: Rows of the full token embedding.
        dtype: Of the tensors written.

    Raises:
        ValueError: The state dict is not of a ``CLIPPretrainer`` or holds higher token ids.
    """
    clip = {k.removeprefix('clip.'): v for k, v in state.items() if k.startswith('clip.')}
    if 'text.token_embedding.weight' not in clip:
        raise ValueError(
            f'expected the checkpoint of a CLIPPretrainer, but got tensors {sorted(state)[:3]}'
        )
    ids = state.get('token_ids')
    if ids is not None:
        if int(ids.max()) >= vocab_size:
            raise ValueError(
                f'expected token ids below vocab_size={vocab_size}, but got {int(ids.max())}'
            )
        rows = clip['text.token_embedding.weight']
        full = rows.new_zeros(vocab_size, rows.shape[1])
        full[ids] = rows
        clip['text.token_embedding.weight'] = full
    return {k.removeprefix('text.'): v.detach().to(dtype).contiguous() for k, v in clip.items()}


def main() -> None:
    args = parse_args()
    checkpoint = torch.load(args.checkpoint, map_location='cpu', weights_only=False)
    state = openai_state(checkpoint['state_dict'], args.vocab_size, getattr(torch, args.dtype))
    meta = checkpoint.get('meta', {})
    metadata = {
        'format': 'pt',
        'iteration': str(meta.get('iter', 'unknown')),
        'seed': str(meta.get('seed', 'unknown')),
        'written': str(meta.get('time', 'unknown')),
        'machine': f'{platform.machine()}, torch {torch.__version__}',
        **dict(item.split('=', 1) for item in args.metadata),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, args.out, metadata)
    print(json.dumps(metadata, indent=2))
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
