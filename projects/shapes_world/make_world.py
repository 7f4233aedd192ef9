"""Write the shapes world: caption shards for training, label maps for evaluation.

Example:
    python projects/shapes_world/make_world.py data/shapes_world --level hard \
        --train 20000 --val 500
"""

import argparse
import json
from pathlib import Path

from code_mm.atomic_write import write_text
from projects.shapes_world import ShapesWorld, write_evaluation, write_shards


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('root', type=Path, help='folder to write: ROOT/shards, ROOT/images, ...')
    parser.add_argument('--level', default='hard', help='easy or hard')
    parser.add_argument('--size', type=int, default=64, help='side of an image in pixels')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--train', type=int, default=10000, help='captioned images (0: none)')
    parser.add_argument('--per-shard', type=int, default=1000)
    parser.add_argument('--val', type=int, default=500, help='images with label maps (0: none)')
    parser.add_argument(
        '--labelled', type=int, default=0, help='images with label maps and captions to train on'
    )
    parser.add_argument('--workers', type=int, default=2)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    world = ShapesWorld(args.level, args.size, args.seed)
    if args.train:
        write_shards(world, args.root / 'shards', args.train, args.per_shard, args.workers)
    for split, count in (('validation', args.val), ('training', args.labelled)):
        if count:
            write_evaluation(world, args.root, count, split, args.workers)
    made_by = {key: str(value) if key == 'root' else value for key, value in vars(args).items()}
    write_text(args.root / 'made_by.json', json.dumps(made_by, indent=2))
    print(f'{args.train} captioned, {args.val + args.labelled} labelled images in {args.root}')


if __name__ == '__main__':
    main()
