"""Tag the nouns of all captions once, so that training looks them up (key noun_cache).

Writes 00000.nouns.parquet (columns key, nouns) and 00000.nouns.rows (the same for random
access) for 00000.tar, and captions.nouns.parquet for captions.csv. Run again, it goes on where
it was stopped and tags what has changed.

Example:
    python tools/dataset_converters/extract_nouns.py 'data/cc12m/{00000..01242}.tar' --workers 16
    python tools/dataset_converters/extract_nouns.py data/coco/captions.csv --out data/nouns
"""

import argparse
import os
from pathlib import Path

LISTS = ('.json', '.jsonl', '.csv', '.tsv')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'sources', nargs='+', help='shards (path, brace range, glob, folder) or .json/.csv lists'
    )
    parser.add_argument('--out', help='folder to write to (default: beside each source)')
    parser.add_argument('--tagger', choices=('auto', 'nltk', 'textblob'), default='auto')
    parser.add_argument('--word-type', choices=('noun', 'noun_phrase'), default='noun')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--index-dir', help="keep the shards' indices here, as index_shards.py")
    parser.add_argument('--caption-extension', default='txt', help='member with the caption')
    parser.add_argument('--caption-field', help='field of the json member with the caption')
    parser.add_argument('--caption-key', default='caption', help='column of lists')
    parser.add_argument('--columns', nargs='+', help='of csv and tsv without a header line')
    parser.add_argument(
        '--project',
        nargs=2,
        type=int,
        default=(12_423_374, 16),
        metavar=('CAPTIONS', 'CORES'),
        help='what the time at the end is projected to (default: CC12M on 16 cores)',
    )
    return parser.parse_args()


def check_targets(sources: list[str], folder: str | None) -> None:
    """Two sources must not write one file."""
    from code_mm.nouns.noun_table import nouns_file

    seen: dict[str, str] = {}
    for source in sources:
        file = nouns_file(source, folder)
        if file in seen:
            raise SystemExit(
                f'{seen[file]} and {source} would both write {file}; run the tool once per data '
                'set, with an --out folder each'
            )
        seen[file] = source


def tag_shards(extraction, shards: list[str], workers: int) -> list:
    """Tag what is not done yet; counts of every shard tagged now."""
    from code_mm.datasets.preparation.parallel_jobs import run_jobs

    there = [shard for shard in shards if os.path.isfile(shard)]
    todo = [shard for shard in there if not extraction.is_done(shard)]
    print(
        f'{len(shards)} shards: {len(shards) - len(there)} missing, {len(there) - len(todo)} done '
        f'before, {len(todo)} to tag'
    )
    jobs = run_jobs(
        extraction.tag_shard,
        todo,
        workers,
        description='tagging',
        unit='captions',
        count=lambda tagged: tagged.captions,
    )
    return [tagged for _, tagged in jobs]


def tag_list(extraction, path: str, args: argparse.Namespace) -> list:
    """Tag a list in parts, unless it is done; counts of every part."""
    from code_mm.datasets.preparation.parallel_jobs import run_jobs

    if extraction.is_list_done(path, args.caption_key, args.columns):
        print(f'{path}: done before')
        return []
    skips: list = []
    jobs = run_jobs(
        extraction.tag_part,
        extraction.list_parts(path, args.caption_key, args.columns, skips),
        args.workers,
        description=Path(path).name,
        unit='captions',
        count=lambda tagged: tagged.captions,
    )
    results = [tagged for _, tagged in jobs]
    if not results:
        raise SystemExit(f'{path}: no row has a caption ({", ".join(map(str, skips[:5]))})')
    print(f'{extraction.join_parts(path, len(results))}; {len(skips)} unreadable rows')
    return results


def report(results: list, project: tuple[int, int]) -> None:
    captions = sum(r.captions for r in results)
    seconds = sum(r.seconds for r in results)
    if not captions:
        print('Nothing was left to tag')
        return
    empty, unreadable = (sum(r[i] for r in results) for i in (1, 2))
    print(f'{captions:,} captions tagged; {empty:,} name nothing, {unreadable:,} unreadable')
    rate = captions / max(seconds, 1e-9)
    total, cores = project
    print(
        f'{rate:,.0f} captions/s per core (CPU time of tagging, reading and writing); '
        f'{total:,} captions would take {total / rate / cores / 60:.1f} minutes on {cores} cores'
    )


def main() -> None:
    args = parse_args()
    from code_mm.datasets.preparation.noun_extraction import NounExtraction
    from code_mm.datasets.shards.shard_index import ShardLayout
    from code_mm.datasets.shards.shard_paths import expand_shard_paths
    from code_mm.nouns import build_tagger

    build_tagger(args.tagger)  # once, before the processes start
    lists = [s for s in args.sources if s.endswith(LISTS)]
    patterns = [s for s in args.sources if not s.endswith(LISTS)]
    shards = expand_shard_paths(patterns) if patterns else []
    check_targets([*shards, *lists], args.out)
    for folder in filter(None, (args.out, args.index_dir)):
        os.makedirs(folder, exist_ok=True)
    extraction = NounExtraction(
        args.out,
        args.tagger,
        args.word_type,
        ShardLayout(caption='json' if args.caption_field else args.caption_extension),
        args.caption_field,
        args.index_dir,
    )
    results = tag_shards(extraction, shards, args.workers) if shards else []
    for path in lists:
        results += tag_list(extraction, path, args)
    report(results, args.project)
    print(f'Nouns files are in {args.out}' if args.out else 'Nouns files lie beside the sources')


if __name__ == '__main__':
    main()
