"""Convert a CLIP of any layout into one safetensors file, and print its sizes as config keys.

This is optional: init_cfg takes the original file as well. The layouts are OpenAI's (archive or
plain), open_clip's and Hugging Face's (docs/weights.md). Activation and heads are taken from the
config beside the file where there is one, and kept in the new file.

Example:
    python tools/model_converters/clip.py laion/model.safetensors weights/laion_h14.safetensors
"""

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help='file of a CLIP, in any layout')
    parser.add_argument('target', type=Path, help='safetensors file to write')
    parser.add_argument('--dtype', choices=('float16', 'float32'), default='float32')
    parser.add_argument(
        '--activation',
        choices=('quick_gelu', 'gelu'),
        help='of a file that does not state it; what the file states is not overruled',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch
    from safetensors.torch import save_file

    import code_mm  # noqa: F401
    from code_mm.atomic_write import atomic_write
    from code_mm.models.backbones.clip.loading import clip_sizes
    from code_mm.weights import clip_layout, read_checkpoint, stated_clip, to_own_names
    from code_mm.weights.clip_layouts import likely_heads
    from code_mm.weights.files import tensors_of

    if args.target.suffix != '.safetensors':
        raise SystemExit(f'expected a target *.safetensors, but got {args.target}')
    checkpoint = read_checkpoint(args.source)
    theirs = tensors_of(checkpoint, args.source)
    own, stated = to_own_names(theirs), stated_clip(args.source, theirs, checkpoint.get('meta'))
    activation = stated.activation or args.activation
    if activation is None:
        raise SystemExit(
            f'{args.source} does not state its activation; give --activation quick_gelu (OpenAI) '
            'or gelu (most of open_clip)'
        )
    if args.activation not in (None, activation):
        raise SystemExit(
            f'expected --activation {activation}, as {stated.where} states, but got '
            f'{args.activation}'
        )
    keys = clip_sizes(own)
    if 'vision_width' in keys:
        keys['vision_heads'] = stated.vision_heads or likely_heads(keys['vision_width'])
    if 'text_width' in keys:
        keys['text_heads'] = stated.text_heads or max(keys['text_width'] // 64, 1)
    keys['activation'] = activation
    dtype = getattr(torch, args.dtype)
    args.target.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k.removeprefix('text.'): v.detach().to(dtype).contiguous() for k, v in own.items()}
    stated = {'format': 'pt', 'source': args.source.name, **{k: str(v) for k, v in keys.items()}}
    with atomic_write(args.target) as unfinished:
        save_file(tensors, unfinished, stated)
    print(f'{args.source} ({clip_layout(theirs)} layout): {len(own)} of {len(theirs)} tensors')
    print(f"written to {args.target} with OpenAI's names; the model's keys:")
    print(f"backbone=dict(type='CLIP', {', '.join(f'{k}={v!r}' for k, v in keys.items())})")


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
