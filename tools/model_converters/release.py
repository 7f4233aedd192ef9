"""Convert a checkpoint of the CoDe or TCL release into one of code_mm.

This is optional: configs and tools/test.py take the original file as well. The genuine files
pickle a config beside the tensors; only the tensors are read.

Example:
    python tools/model_converters/release.py code_release.pth weights/code_vit-b16.pth \
        --config configs/eval/code_vit-b16_ade20k.py
"""

import argparse
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help="checkpoint of the release (its key 'model')")
    parser.add_argument('target', type=Path, help='file to write, for load_from or tools/test.py')
    parser.add_argument('--config', help='compare with the model of this config; stop if not fit')
    return parser.parse_args()


def report_fit(config: str, weights) -> None:
    """Print what of the file the model of a config takes."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from code_mm.registry import MODELS
    from code_mm.weights import LoadReport

    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build(cfg.model)
    print(LoadReport.compare(model, weights.state, weights.source, weights.layout))
    weights.fitted(model)


def main() -> None:
    args = parse_args()
    import torch

    import code_mm  # noqa: F401
    from code_mm.weights import read_checkpoint
    from code_mm.weights.files import tensors_of
    from code_mm.weights.model_weights import ModelWeights
    from code_mm.weights.release_weights import PARTS

    checkpoint = read_checkpoint(args.source)
    weights = ModelWeights.of(checkpoint, args.source)
    if not weights.layout.endswith('release'):
        raise SystemExit(
            f'expected a checkpoint of the CoDe or TCL release, but {args.source} has '
            f'{sorted(checkpoint)[:8]}'
        )
    if args.config:
        report_fit(args.config, weights)
    unexpected = sorted(name for name in weights.state if not name.startswith(PARTS))
    converted = {name: v for name, v in weights.state.items() if name.startswith(PARTS)}
    args.target.parent.mkdir(parents=True, exist_ok=True)
    meta = {'source': args.source.name, 'layout': weights.layout}
    torch.save({'state_dict': converted, 'meta': meta}, args.target)
    left_out = len(tensors_of(checkpoint)) - len(weights.state)
    print(
        f'{args.source} ({weights.layout}): {len(converted)} tensors written to {args.target}; '
        f'{left_out} copies of CLIP and constants left out; {len(unexpected)} unexpected '
        f'{unexpected[:5]}'
    )


if __name__ == '__main__':
    main()
