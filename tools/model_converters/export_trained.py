"""Export what was trained, without the frozen CLIP, as a small safetensors file.

The file is loaded on top of a CLIP: as the checkpoint of tools/test.py, or by init_cfg of the
model; the CLIP is the one that the config names. It must be the one of the training.

Example:
    python tools/model_converters/export_trained.py work_dirs/code_cc12m/iter_50000.pth \
        code_cc12m_trained.safetensors --dtype float16
    python tools/test.py configs/eval/code_vit-b16_ade20k.py code_cc12m_trained.safetensors
"""

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', type=Path, help='of a CoDeSegmentor, or of the CoDe release')
    parser.add_argument('out', type=Path, help='safetensors file to write')
    parser.add_argument('--dtype', choices=('float16', 'float32'), default='float32')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch
    from safetensors.torch import save_file

    import code_mm  # noqa: F401
    from code_mm.atomic_write import atomic_write
    from code_mm.weights.model_weights import FROZEN, TRAINED_PARTS, ModelWeights, clip_checksum

    if args.out.suffix != '.safetensors':
        raise SystemExit(f'expected a file *.safetensors to write, but got {args.out}')
    weights = ModelWeights.read(args.checkpoint)
    if 'frozen=False' in str(weights.meta.get('cfg', '')):
        raise SystemExit(
            f'expected a model on a frozen CLIP, but the config of {args.checkpoint} has '
            'frozen=False: its CLIP was trained too and belongs into the file'
        )
    parts = dict(weights.state)
    clip = {n.removeprefix(FROZEN): parts.pop(n) for n in weights.state if n.startswith(FROZEN)}
    if not clip or not parts:
        raise SystemExit(
            f'expected a checkpoint of a CoDeSegmentor, but {args.checkpoint} has {len(clip)} '
            f'tensors of a CLIP ({FROZEN}*) and {len(parts)} beside it'
        )
    dtype = getattr(torch, args.dtype)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        n: (v.to(dtype) if v.is_floating_point() else v).contiguous() for n, v in parts.items()
    }
    metadata = {
        'iteration': str(weights.meta.get('iter', 'unknown')),
        'seed': str(weights.meta.get('seed', 'unknown')),
        'source': args.checkpoint.name,
        'layout': weights.layout,
        'content': TRAINED_PARTS,
        'clip_checksum': clip_checksum(clip),
        'format': 'pt',
    }
    with atomic_write(args.out) as unfinished:
        save_file(tensors, unfinished, metadata)
    before, after = (path.stat().st_size / 1e6 for path in (args.checkpoint, args.out))
    groups = sorted({name.split('.')[0] for name in parts})
    print(f'{len(parts)} tensors of {", ".join(groups)} written to {args.out}:')
    print(f'{after:.1f} MB instead of {before:.1f} MB; the CLIP of the config belongs to it')


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
