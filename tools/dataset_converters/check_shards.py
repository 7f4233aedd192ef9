"""Read shards as training does, images included, and report what is in them and what is broken.

Prints and writes counts, sizes and the most frequent nouns (OUT/summary.json), and every problem
with shard and key (OUT/problems.jsonl). The exit code is 1 where something is broken; --allow names
the problems that are not.

Example:
    python tools/dataset_converters/check_shards.py 'data/cc12m/*.tar' --out work_dirs/check
"""

import argparse
import json
import os
import sys
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('shards', nargs='+', help='path, brace range, glob or folder')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/check_shards'))
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--limit', type=int, help='samples read per shard (default: all)')
    parser.add_argument(
        '--allow',
        default='few_nouns,empty_caption,duplicate_pair',
        help='problems that are not broken data, with commas (default: %(default)s)',
    )
    parser.add_argument('--num-nouns', type=int, default=2, help='that a caption must have')
    parser.add_argument(
        '--tagger', default='auto', help="'auto', 'nltk', 'textblob' or the path of a class"
    )
    parser.add_argument('--word-type', choices=('noun', 'noun_phrase'), default='noun')
    parser.add_argument('--min-size', type=int, default=16, help='of images, in pixels')
    parser.add_argument('--caption-extension', default='txt', help='member with the caption')
    parser.add_argument('--caption-field', help='field of the json member with the caption')
    parser.add_argument('--noun-cache', help="'beside' or folder, as cache of LoadNouns")
    parser.add_argument('--index-dir', help='folder of the index, see index_shards.py')
    parser.add_argument('--top', type=int, default=40, help='of the most frequent nouns')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from code_mm.atomic_write import atomic_write, write_text
    from code_mm.datasets.preparation.parallel_jobs import run_jobs
    from code_mm.datasets.preparation.shard_check import ShardCheck, ShardReport
    from code_mm.datasets.shards.shard_paths import expand_shard_paths
    from code_mm.nouns import build_tagger
    from code_mm.structures.unusable_sample import UNUSABLE_REASONS

    # mistakes are told before hours of reading
    allowed = [reason for reason in args.allow.split(',') if reason]
    known = (*UNUSABLE_REASONS, 'duplicate_pair')
    if unknown := [reason for reason in allowed if reason not in known]:
        raise SystemExit(f'--allow: expected reasons among {", ".join(known)}, but got {unknown}')
    if args.limit is not None and args.limit < 1:
        raise SystemExit(f'--limit: expected at least 1, but got {args.limit}')
    args.out.mkdir(parents=True, exist_ok=True)
    build_tagger(args.tagger)  # once, before the processes start
    check = ShardCheck(
        {key: getattr(args, key) for key in ('caption_extension', 'caption_field', 'index_dir')},
        dict(cache=args.noun_cache, tagger=args.tagger, word_type=args.word_type),
        args.num_nouns,
        args.min_size,
        args.limit,
    )
    report = ShardReport(allowed)
    options = dict(description='checking', unit='pairs', count=lambda f: f.counts['checked'])
    for _, findings in run_jobs(check, expand_shard_paths(args.shards), args.workers, **options):
        report.add(findings)
    with (
        atomic_write(args.out / 'problems.jsonl') as unfinished,
        open(unfinished, 'w', -1, 'utf-8', 'backslashreplace') as file,
    ):
        for problem in report.problems():
            shard, _, key = problem.key.partition('/')
            row = dict(shard=shard, key=key, reason=problem.reason, detail=problem.detail)
            file.write(json.dumps(row, ensure_ascii=False) + '\n')
    summary = report.summary(args.top)
    text = json.dumps(summary, indent=4, ensure_ascii=False)
    write_text(args.out / 'summary.json', text)
    print(text)
    print(f'Every problem is in {args.out / "problems.jsonl"}')
    if summary['broken']:
        print(f'{summary["broken"]} things are broken (allowed: {", ".join(allowed) or "nothing"})')
        sys.exit(1)


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
