"""Index shards in parallel, so that random access to them (CaptionShardsDataset) starts in seconds.

Give the same folder to the dataset as index_dir. Run again, it indexes what is new or has changed.

Example:
    python tools/dataset_converters/index_shards.py 'data/cc12m/{00000..01242}.tar' \
        --index-dir data/cc12m/shard_index --workers 16
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('shards', nargs='+', help='path, brace range, glob or folder')
    parser.add_argument('--index-dir', required=True, help='folder to keep the indices in')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument(
        '--image-extensions', nargs='+', default=['jpg', 'jpeg', 'png', 'webp'], help='of members'
    )
    parser.add_argument('--caption-extension', default='txt', help='member with the caption')
    parser.add_argument('--caption-field', help='field of the json member with the caption')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from code_mm.datasets.preparation.parallel_jobs import run_jobs
    from code_mm.datasets.sample_ledger import count_by_reason
    from code_mm.datasets.shards.shard_index import ShardLayout, load_or_scan
    from code_mm.datasets.shards.shard_paths import expand_shard_paths

    os.makedirs(args.index_dir, exist_ok=True)
    layout = ShardLayout.of(args.image_extensions, args.caption_extension, args.caption_field)
    paths = expand_shard_paths(args.shards)
    index = partial(load_or_scan, layout=layout, folder=args.index_dir)
    options = dict(description='indexing', unit='pairs', count=lambda found: len(found.keys))
    indices = [found for _, found in run_jobs(index, paths, args.workers, **options)]
    skips = count_by_reason(skip for index in indices for skip in index.skips)
    pairs = sum(len(index.keys) for index in indices)
    print(f'{pairs:,} image-caption pairs in {len(paths) - skips["missing_shard"]:,} shards')
    if skips:
        print(f'left out: {dict(skips)}')
    print(f'The index is in {args.index_dir}; set index_dir={args.index_dir!r}')


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
