"""Writes docs/study.json, the tables of docs/study.md and its pictures from what the runs left."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from code_mm.atomic_write import write_text
from code_mm.evaluation import result_table
from projects.shapes_world.runs import ROOT
from projects.shapes_world.study.pictures import draw_pictures
from projects.shapes_world.study.results import METRICS, THRESHOLD_METRICS, difference, gather
from projects.shapes_world.study.variants import Variant

_PLAIN_AND_PAMR = ('', '_pamr')
# Group of variants, and its table in docs/study.md -> suffixes of the readings[, metrics].
TABLES = {
    'main': (_PLAIN_AND_PAMR, METRICS | THRESHOLD_METRICS),
    'readings': (('', '_pamr', '_mix', '_mix_pamr'),),
    **dict.fromkeys(
        ('co_decomposition', 'hcl_weight', 'noun_count', 'choices', 'longer', 'easy', 'methods'),
        (_PLAIN_AND_PAMR,),
    ),
}
# Table of differences -> (variant, reference).
DIFFERENCES = {
    'longer_differences': [
        ('code', 'segmenter_only'),
        ('code_2x', 'segmenter_only_2x'),
        ('code_4x', 'segmenter_only_4x'),
    ],
    'easy_differences': [
        ('segmenter_only_easy', 'maskclip_easy'),
        ('code_easy', 'segmenter_only_easy'),
    ],
    'choice_differences': [
        ('co_decomposition_word_prompt', 'co_decomposition'),
        ('code', 'co_decomposition_word_prompt'),
        ('hcl_weight_0.1', 'segmenter_only'),
        ('hcl_weight_0.1', 'code'),
        ('code', 'hcl_weight_1.0'),
        ('guide_squared_l2', 'code'),
        ('pseudo_label_argmax', 'code'),
        ('nouns_3', 'nouns_1'),
    ],
    'main_differences': [
        ('code', 'segmenter_only'),
        ('segmenter_only', 'maskclip'),
        ('code', 'maskclip'),
        ('code_naclip', 'naclip'),
    ],
}
# mIoU is in percent, all else a share
DIGITS = {title: 3 for title in METRICS.values() if 'mIoU' not in title} | {'that threshold': 2}
# Metrics of a table of differences; those that no pair has are left out.
DIFFERENCE_METRICS = {
    key: (METRICS | THRESHOLD_METRICS)[key]
    for key in ('miou_with_background', 'miou_best_threshold', 'miou_without_background', 'auc')
}


def write_report(args: argparse.Namespace, variants: list[Variant], folders: dict) -> Path:
    """Write everything and return the page."""
    docs = ROOT / args.docs
    results = docs / 'study.json'
    earlier = json.loads(results.read_text()) if results.exists() else None
    study = gather(args, variants, folders, earlier)
    write_text(results, json.dumps(study, indent=1) + '\n')
    page = docs / 'study.md'
    # a page elsewhere starts with the project's words, which speak of the project's own figures
    words = page if page.exists() else ROOT / 'docs/study.md'
    write_text(page, fill(words.read_text(), page_blocks(study, variants)))

    draw_pictures(args, study, folders, docs / 'images')
    return page


def page_blocks(study: dict, variants: list[Variant]) -> dict[str, str]:
    """All that the tool writes of the page: name of the place -> text."""
    return {
        'setting': setting(study),
        **{group: table(study, variants, group, *rule) for group, rule in TABLES.items()},
        **{name: differences(study, pairs) for name, pairs in DIFFERENCES.items()},
    }


def table(
    study: dict,
    variants: list[Variant],
    group: str,
    suffixes: tuple[str, ...],
    metrics: dict[str, str] = METRICS,
) -> str:
    """The rows of one group, mean ± standard deviation over seeds."""
    rows = []
    for suffix in suffixes:
        for variant in variants:
            entry = study['variants'].get(variant.name + suffix, {})
            known = [key for key in metrics if key in entry]
            if group not in variant.groups or not known:
                continue
            row = {'variant': entry['title'], 'runs': str(len(entry['seeds']) or '-')}
            for key in known:
                raw = entry[key]['raw']
                row[metrics[key]] = raw if len(raw) > 1 else raw[0]
            rows.append(row)
    return result_table(rows, digits=DIGITS) if rows else 'Not run yet.'


def differences(study: dict, pairs: list[tuple[str, str]]) -> str:
    """Seed-by-seed differences; those that do not exceed their own spread are called so."""
    found = {}
    for suffix in ('', '_pamr'):
        for names in pairs:
            entries = [study['variants'].get(name + suffix) for name in names]
            if None not in entries:
                title = f'{entries[0]["title"]} minus {entries[1]["title"]}'
                found[title] = {key: difference(*entries, key) for key in DIFFERENCE_METRICS}
    if not found:
        return 'Not run yet.'
    metrics = [key for key in DIFFERENCE_METRICS if any(row[key] for row in found.values())]
    head = ['difference', *(DIFFERENCE_METRICS[key] for key in metrics)]
    rows = [
        [title, *(_difference_cell(row[key], key) for key in metrics)]
        for title, row in found.items()
    ]
    return markdown(head, rows, texts=1)


def markdown(head: list[str], rows: list[list[str]], texts: int) -> str:
    """A table whose first columns are ``texts``, the others figures."""
    rule = ['---'] * texts + ['---:'] * (len(head) - texts)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [head, rule, *rows])


def _difference_cell(delta: dict | None, metric: str) -> str:
    if delta is None or delta['mean'] is None:
        return '-'
    digits = DIGITS.get(DIFFERENCE_METRICS[metric], 1)
    if delta['std'] is None:
        return f'{delta["mean"]:+.{digits}f} (one run)'
    verdict = '' if abs(delta['mean']) > delta['std'] else ' (within the spread)'
    return f'{delta["mean"]:+.{digits}f} ± {delta["std"]:.{digits}f}{verdict}'


def setting(study: dict) -> str:
    """What all tables share."""
    made, clip = study['made_by'], study['clip']
    words = study['variants'].get('code', {}).get('word_accuracy_none')
    none = (
        f' Calling every word "none" gets a word accuracy of {words["mean"]:.3f}.' if words else ''
    )
    return (
        f'{made["iterations"]} iterations of batch {made["batch_size"]}, seeds '
        f'{", ".join(map(str, made["seeds"]))}, {made["validation_images"]} validation images per '
        f'world; {made["machine"]}, torch {made["torch"]}. Noun recall@k of the CLIP under '
        f'everything: {clip["noun_recall_hard"]:.3f} on the hard world (chance '
        f'{clip["noun_recall_chance_hard"]:.3f}), {clip["noun_recall_easy"]:.3f} on the easy one.'
        f'{none}'
    )


def fill(page: str, blocks: dict[str, str], mark: str = 'study') -> str:
    """Put each block between its markers ``<!-- MARK:NAME -->`` and ``<!-- end -->``.

    Raises:
        ValueError: The page has no place for a block, or a place for none.
    """
    places = set(re.findall(rf'<!-- {mark}:(\w+) -->', page))
    if places != set(blocks):
        raise ValueError(f'expected places for {sorted(blocks)} in the page, got {sorted(places)}')
    for name, text in blocks.items():
        pattern = rf'(<!-- {mark}:{name} -->\n).*?(<!-- end -->)'
        page = re.sub(pattern, lambda m, text=text: f'{m[1]}{text}\n{m[2]}', page, flags=re.S)
    return page
