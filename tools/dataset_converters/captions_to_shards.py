"""Write image-caption pairs of COCO, of a list or of a folder as shards, as img2dataset does.

SOURCE is a COCO file (captions_train2017.json), a .json/.jsonl/.csv/.tsv list with a column of
image paths and one of captions, or a folder of images with a .txt file beside each. Image bytes
are copied unchanged. Run again, it goes on where it was stopped. The exit code is 1 where pairs
were left out (OUT/left_out.jsonl names them), unless their share is below --max-bad-fraction.

Example:
    python tools/dataset_converters/captions_to_shards.py \
        data/coco/annotations/captions_train2017.json data/coco_shards \
        --images data/coco/train2017 --shuffle 0
"""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='COCO captions json, list or folder')
    parser.add_argument('out', type=Path, help='folder to write 00000.tar, … to')
    parser.add_argument('--images', default='', help='folder before relative image paths')
    parser.add_argument('--samples-per-shard', type=int, default=10_000)
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--shuffle', type=int, metavar='SEED', help='default: keep the order')
    parser.add_argument(
        '--captions', choices=('all', 'first'), default='all', help='of an image of COCO'
    )
    parser.add_argument('--image-key', default='image', help='column of a list')
    parser.add_argument('--caption-key', default='caption', help='column of a list')
    parser.add_argument('--columns', nargs='+', help='of csv and tsv without a header line')
    parser.add_argument('--min-size', type=int, default=16, help='of images, in pixels')
    parser.add_argument('--max-bad-fraction', type=float, default=0.0)
    return parser.parse_args()


def read_pairs(args: argparse.Namespace, skips: list) -> list:
    import shard_conversion as conversion

    if os.path.isdir(args.source):
        return conversion.read_folder_pairs(args.source, skips)
    if not os.path.isfile(args.source):
        raise SystemExit(f'expected {args.source} to be a file or a folder, but it is not there')
    if conversion.is_coco(args.source):
        return conversion.read_coco_pairs(args.source, args.images, args.captions)
    return conversion.read_list_pairs(
        args.source, args.images, args.image_key, args.caption_key, args.columns, skips
    )


def main() -> None:
    args = parse_args()
    from shard_conversion import convert, shard_jobs

    from code_mm.atomic_write import write_text
    from code_mm.datasets.preparation.parallel_jobs import run_jobs

    skips: list = []
    pairs = read_pairs(args, skips)
    jobs = shard_jobs(pairs, args.out, args.samples_per_shard, args.min_size, args.shuffle)
    args.out.mkdir(parents=True, exist_ok=True)
    extra = {path.name for path in args.out.glob('*.tar')} - {f'{j.number:05d}.tar' for j in jobs}
    if extra:
        raise SystemExit(f'{args.out} holds shards of something else ({min(extra)}); use another')
    todo = [job for job in jobs if job.finished_stats() is None]
    print(f'{len(jobs)} shards: {len(jobs) - len(todo)} written before, {len(todo)} to write')
    options = dict(description='writing', unit='pairs', count=lambda stats: stats['count'])
    for _ in run_jobs(convert, todo, args.workers, **options):
        pass
    left_out = [skip._asdict() for skip in skips]
    left_out += [row for job in jobs for row in job.finished_stats()['left_out']]
    total = len(pairs) + len(skips)
    print(f'{total - len(left_out)} of {total} pairs are in {args.out}')
    file = args.out / 'left_out.jsonl'
    write_text(file, ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in left_out))
    if left_out:
        reasons = Counter(row['reason'] for row in left_out)
        print(f'{len(left_out)} left out, see {file}: {dict(reasons)}')
    sys.exit(int(len(left_out) > args.max_bad_fraction * total))


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
