"""Convert a checkpoint of the CoDe or TCL release into one of code_mm.

This is optional: configs and tools/test.py take the original file as well. The genuine files
pickle a config beside the tensors; only the tensors are read.

Example:
    python tools/model_converters/release.py code_release.pth weights/code_vit-b16.pth
"""

import argparse
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help="checkpoint of the release (its key 'model')")
    parser.add_argument('target', type=Path, help='file to write, for load_from or tools/test.py')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import torch

    import code_mm  # noqa: F401
    from code_mm.atomic_write import atomic_write
    from code_mm.weights.model_weights import ModelWeights
    from code_mm.weights.segmentor_layouts import PARTS

    weights = ModelWeights.read(args.source)
    if not weights.layout.endswith('release'):
        raise SystemExit(
            f'expected a checkpoint of the CoDe or TCL release, but {args.source} has tensors like '
            f'{sorted(weights.state)[:3]}'
        )
    unexpected = sorted(name for name in weights.state if not name.startswith(PARTS))
    converted = {name: v for name, v in weights.state.items() if name.startswith(PARTS)}
    args.target.parent.mkdir(parents=True, exist_ok=True)
    meta = {'source': args.source.name, 'layout': weights.layout}
    with atomic_write(args.target) as unfinished:
        torch.save({'state_dict': converted, 'meta': meta}, unfinished)
    print(
        f'{args.source} ({weights.layout}): {len(converted)} tensors written to {args.target}; '
        f'copies of CLIP and constants left out; {len(unexpected)} unexpected {unexpected[:5]}'
    )


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
