"""Convert a CLIP for a ZeroShotSegmentor on mmpretrain's VisionTransformer.

The file may be in any layout that init_cfg takes (docs/weights.md). The result is what
configs/eval/mmpretrain_vit-b16_ade20k.py expects.

Example:
    python tools/model_converters/clip_to_mmpretrain.py weights/ViT-B-16.pt \
        weights/ViT-B-16_mmpretrain.pth
"""

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help='file of a CLIP, in any layout')
    parser.add_argument('target', type=Path, help='.pth file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch

    from code_mm.atomic_write import atomic_write
    from code_mm.weights import read_tensors, to_own_names
    from code_mm.weights.clip_layouts import to_mmpretrain_names

    state = to_mmpretrain_names(to_own_names(read_tensors(args.source)))
    state = {name: value.float() for name, value in state.items()}
    args.target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(args.target) as unfinished:
        torch.save(dict(state_dict=state), unfinished)
    print(f'{len(state)} tensors of {args.source} written to {args.target}')


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
