"""Tag the nouns of all captions once, so that training looks them up (LoadNouns(cache='beside')).

Writes 00000.nouns.arrow for 00000.tar, and captions.nouns.arrow for captions.csv. Run again, it
goes on where it was stopped and tags what has changed.

Example:
    python tools/dataset_converters/extract_nouns.py 'data/cc12m/{00000..01242}.tar' --workers 16
    python tools/dataset_converters/extract_nouns.py data/coco/captions.csv --out data/nouns
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

LISTS = ('.json', '.jsonl', '.csv', '.tsv')
CC12M, CORES = 12_423_374, 16  # what the time at the end is projected to


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'sources', nargs='+', help='shards (path, brace range, glob, folder) or .json/.csv lists'
    )
    parser.add_argument('--out', help='folder to write to (default: beside each source)')
    parser.add_argument(
        '--tagger', default='auto', help="'auto', 'nltk', 'textblob' or the path of a class"
    )
    parser.add_argument('--word-type', choices=('noun', 'noun_phrase'), default='noun')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--index-dir', help="keep the shards' indices here, as index_shards.py")
    parser.add_argument(
        '--image-extensions', nargs='+', default=['jpg', 'jpeg', 'png', 'webp'], help='of members'
    )
    parser.add_argument('--caption-extension', default='txt', help='member with the caption')
    parser.add_argument('--caption-field', help='field of the json member with the caption')
    parser.add_argument('--caption-key', default='caption', help='column of lists')
    parser.add_argument('--columns', nargs='+', help='of csv and tsv without a header line')
    return parser.parse_args()


def tag_all(extraction, shards: list[str], lists: list[str], workers: int) -> list:
    """Tag what is not done yet; counts of every shard and part of a list tagged now."""
    from code_mm.datasets.preparation.parallel_jobs import run_jobs

    def tag(function, jobs, description: str) -> list:
        options = dict(description=description, unit='captions', count=lambda t: t.captions)
        return [tagged for _, tagged in run_jobs(function, jobs, workers, **options)]

    there = [shard for shard in shards if os.path.isfile(shard)]
    todo = [shard for shard in there if not extraction.is_done(shard)]
    if shards:
        print(
            f'{len(shards)} shards: {len(shards) - len(there)} missing, '
            f'{len(there) - len(todo)} done before, {len(todo)} to tag'
        )
    results = tag(extraction.tag_shard, todo, 'tagging')
    for path in lists:
        if extraction.is_done(path):
            print(f'{path}: done before')
            extraction.remove_parts(path)
            continue
        skips: list = []
        parts = tag(extraction.tag_part, extraction.list_parts(path, skips), os.path.basename(path))
        if not parts:
            raise SystemExit(f'{path}: no row has a caption ({", ".join(map(str, skips[:5]))})')
        print(f'{extraction.join_parts(path, len(parts))}; {len(skips)} unreadable rows')
        results += parts
    return results


def report(results: list) -> None:
    captions, empty, unreadable, left_out, seconds = (
        sum(column, start=type(column[0])()) for column in zip(*results, strict=True)
    )
    if left_out:
        print(f'left out: {dict(left_out)}')
    if not captions:
        print('Nothing was left to tag')
        return
    rate = captions / max(seconds, 1e-9)
    print(
        f'{captions:,} captions tagged; {empty:,} name nothing, {unreadable:,} unreadable\n'
        f'{rate:,.0f} captions/s per core (CPU time of tagging, reading and writing); the '
        f'{CC12M:,} of CC12M would take {CC12M / rate / CORES / 60:.1f} minutes on {CORES} cores'
    )


def main() -> None:
    args = parse_args()
    from code_mm.datasets.preparation.noun_extraction import NounExtraction
    from code_mm.datasets.shards.shard_index import ShardLayout
    from code_mm.datasets.shards.shard_paths import expand_shard_paths
    from code_mm.nouns import build_tagger
    from code_mm.nouns.noun_cache import nouns_file

    build_tagger(args.tagger)  # once, before the processes start
    lists = [s for s in args.sources if s.lower().endswith(LISTS)]
    patterns = [s for s in args.sources if s not in lists]
    shards = expand_shard_paths(patterns) if patterns else []
    targets: dict[str, str] = {}
    for source in [*shards, *lists]:
        target = nouns_file(source, args.out)
        if targets.setdefault(target, source) != source:
            raise SystemExit(
                f'{targets[target]} and {source} would both write {target}; run the tool once per '
                'data set, with an --out folder each'
            )
    for folder in filter(None, (args.out, args.index_dir)):
        os.makedirs(folder, exist_ok=True)
    extraction = NounExtraction(
        args.out,
        args.tagger,
        args.word_type,
        ShardLayout.of(args.image_extensions, args.caption_extension, args.caption_field),
        args.caption_field,
        args.index_dir,
        args.caption_key,
        args.columns,
    )
    report([(0, 0, 0, Counter(), 0.0), *tag_all(extraction, shards, lists, args.workers)])
    print(f'Nouns files are in {args.out}' if args.out else 'Nouns files lie beside the sources')


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from run_or_explain import run_or_explain

    run_or_explain(main)
