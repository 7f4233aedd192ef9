"""Export what was trained, without the frozen CLIP, as a small safetensors file.

The file is loaded on top of a CLIP: as the checkpoint of tools/test.py, or by init_cfg of the
model; the CLIP is the one that the config names. It must be the one of the training.

Example:
    python tools/model_converters/export_trained.py work_dirs/code_cc12m/iter_50000.pth \
        code_cc12m_trained.safetensors --dtype float16
    python tools/test.py configs/eval/code_vit-b16_ade20k.py code_cc12m_trained.safetensors
"""

import argparse
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', type=Path, help='of a CoDeSegmentor, or of the CoDe release')
    parser.add_argument('out', type=Path, help='safetensors file to write')
    parser.add_argument('--dtype', choices=('float16', 'float32'), default='float32')
    parser.add_argument('--metadata', nargs='*', default=[], metavar='KEY=VALUE')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch

    import code_mm  # noqa: F401
    from code_mm.weights import read_checkpoint
    from code_mm.weights.model_weights import ModelWeights
    from code_mm.weights.trained_parts import save_trained_parts

    if args.out.suffix != '.safetensors':
        raise SystemExit(f'expected a file *.safetensors to write, but got {args.out}')
    weights = ModelWeights.of(read_checkpoint(args.checkpoint), args.checkpoint)
    if 'frozen=False' in str(weights.meta.get('cfg', '')):
        raise SystemExit(
            f'expected a model on a frozen CLIP, but the config of {args.checkpoint} has '
            'frozen=False: its CLIP was trained too and belongs into the file'
        )
    metadata = {
        'iteration': str(weights.meta.get('iter', 'unknown')),
        'seed': str(weights.meta.get('seed', 'unknown')),
        'source': args.checkpoint.name,
        'layout': weights.layout,
        **dict(item.split('=', 1) for item in args.metadata),
    }
    dtype = getattr(torch, args.dtype)
    names = save_trained_parts(weights.state, args.out, dtype, metadata)
    before, after = (path.stat().st_size / 1e6 for path in (args.checkpoint, args.out))
    parts = sorted({name.split('.')[0] for name in names})
    print(f'{len(names)} tensors of {", ".join(parts)} written to {args.out}:')
    print(f'{after:.1f} MB instead of {before:.1f} MB; the CLIP of the config belongs to it')


if __name__ == '__main__':
    main()
