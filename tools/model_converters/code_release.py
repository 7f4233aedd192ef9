"""Convert a checkpoint of the authors' CoDe release into one of code_mm.

Example:
    python tools/model_converters/code_release.py code_release.pth code_mm.pth
"""

import argparse
from pathlib import Path

import torch

from code_mm.models.segmentors.release_weights import convert_release_weights


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help="checkpoint of the release (its key 'model')")
    parser.add_argument('target', type=Path, help='file to write, for load_from or tools/test.py')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    # weights_only: nothing that is pickled beside the tensors gets executed.
    checkpoint = torch.load(args.source, map_location='cpu', weights_only=True)
    if 'model' not in checkpoint:
        raise SystemExit(
            f"expected a release checkpoint with the key 'model', but {args.source} has "
            f'{sorted(checkpoint)[:8]}'
        )
    converted = convert_release_weights(checkpoint['model'])
    args.target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'state_dict': converted, 'meta': {'source': args.source.name}}, args.target)
    left_out = len(checkpoint['model']) - len(converted)
    print(
        f'{len(converted)} tensors written to {args.target}; '
        f'{left_out} copies of CLIP and constants left out'
    )


if __name__ == '__main__':
    main()
