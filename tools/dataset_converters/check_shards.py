"""Read shards as training does, images included, and report what is in them and what is broken.

Prints and writes counts, sizes and the most frequent nouns (OUT/summary.md, summary.json,
nouns.png), and every problem with shard and key (OUT/problems.jsonl). The exit code is 1 where
something is broken; --allow names the problems that are not.

Example:
    python tools/dataset_converters/check_shards.py 'data/cc12m/*.tar' --out work_dirs/check
"""

import argparse
import json
import os
import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


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
    parser.add_argument('--top', type=int, default=40, help='nouns in table and picture')
    return parser.parse_args()


def check_arguments(args: argparse.Namespace) -> list[str]:
    """The allowed reasons; mistakes are told before hours of reading."""
    from code_mm.structures.unusable_sample import UNUSABLE_REASONS

    allowed = [reason for reason in args.allow.split(',') if reason]
    known = (*UNUSABLE_REASONS, 'duplicate_pair')
    unknown = [reason for reason in allowed if reason not in known]
    if unknown:
        raise SystemExit(f'--allow: expected reasons among {", ".join(known)}, but got {unknown}')
    if args.limit is not None and args.limit < 1:
        raise SystemExit(f'--limit: expected at least 1, but got {args.limit}')
    return allowed


def check_all(args: argparse.Namespace, allowed: list[str]):
    """The report of all shards."""
    from code_mm.datasets.preparation.parallel_jobs import run_jobs
    from code_mm.datasets.preparation.shard_check import ShardCheck, ShardReport
    from code_mm.datasets.shards.shard_paths import expand_shard_paths
    from code_mm.nouns import build_tagger

    build_tagger(args.tagger)  # once, before the processes start
    check = ShardCheck(
        {key: getattr(args, key) for key in ('caption_extension', 'caption_field', 'index_dir')},
        dict(cache=args.noun_cache, tagger=args.tagger, word_type=args.word_type),
        args.num_nouns,
        args.min_size,
        args.limit,
    )
    report = ShardReport(args.num_nouns, allowed)
    options = dict(description='checking', unit='pairs', count=lambda f: f.counts['checked'])
    for _, findings in run_jobs(check, expand_shard_paths(args.shards), args.workers, **options):
        report.add(findings)
    return report


def draw_noun_frequencies(counts: dict[str, int], num_captions: int, number: int) -> Figure:
    """Bars of the nouns that most captions name, the most frequent one on top.

    Args:
        counts (dict[str, int]): Noun -> captions that name it.
        num_captions (int): All captions, for the shares.
        number (int): Bars at most.
    """
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]
    names, values = [name for name, _ in top], [value for _, value in top]
    figure = Figure(figsize=(7, 1.3 + 0.22 * len(top)), dpi=120, layout='constrained')
    axes = figure.subplots()
    # by position, since two nouns may look the same to matplotlib
    bars = axes.barh(range(len(top)), values, color='#3b6ea8')
    labels = [name if len(name) <= 30 else f'{name[:29]}…' for name in names]
    axes.set_yticks(range(len(top)), labels, fontsize=9, parse_math=False)
    shares = [f' {value:,} ({value / num_captions:.1%})' for value in values]
    axes.bar_label(bars, shares, fontsize=8)
    axes.set_xlim(0, max(values) * 1.25)  # room for the labels
    axes.set_ylim(len(top) - 0.4, -0.6)  # the first bar on top
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_xlabel(f'captions that name it, of {num_captions:,}')
    axes.set_title(f'Most frequent of {len(counts):,} nouns', loc='left', fontsize=11)
    return figure


def write_report(report, out: Path, top: int) -> dict:
    """Write all files of the report; the summary."""
    from code_mm.datasets.preparation.shard_check import report_page

    summary = report.summary(top)
    with open(out / 'problems.jsonl', 'w', encoding='utf-8') as file:
        for problem in report.problems():
            shard, _, key = problem.key.partition('/')
            row = dict(shard=shard, key=key, reason=problem.reason, detail=problem.detail)
            file.write(json.dumps(row, ensure_ascii=False) + '\n')
    (out / 'summary.json').write_text(json.dumps(summary, indent=4, ensure_ascii=False))
    picture = out / 'nouns.png'
    picture.unlink(missing_ok=True)
    if report.nouns:
        draw_noun_frequencies(report.nouns, summary['captions'], top).savefig(picture)
    page = report_page(summary, picture.name if report.nouns else None)
    (out / 'summary.md').write_text(page)
    print(page)
    return summary


def main() -> None:
    args = parse_args()
    allowed = check_arguments(args)
    args.out.mkdir(parents=True, exist_ok=True)
    summary = write_report(check_all(args, allowed), args.out, args.top)
    print(f'Every problem is in {args.out / "problems.jsonl"}; report: {args.out / "summary.md"}')
    if summary['broken']:
        print(f'{summary["broken"]} things are broken (allowed: {", ".join(allowed) or "nothing"})')
        sys.exit(1)


if __name__ == '__main__':
    main()
