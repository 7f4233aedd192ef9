"""Write names/imagenet_names.tsv and names/caption_nouns.txt from WordNet 3.0 and captions.

python projects/photos/make_names.py --synsets SYNSETS --shards ../shared/data/flickr8k/train-*.tar

The synsets of ImageNet's classes in ILSVRC's order stand in timm's wheel
(timm/data/_info/imagenet_synsets.txt); WordNet is Debian's package wordnet-base.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import webdataset as wds

from code_mm.atomic_write import write_text
from projects.photos.name_table import CAPTION_NOUNS, IMAGENET_NAMES, plain, singular_forms

# A rarer sense is meant only by chance: a kite is a toy before it is a bird. These are exceptions.
LAST_SENSE = 3
BY_A_RARER_SENSE = (
    'beaver bell boxer buffalo coral crane dome fig hook iron library monitor mouse mug mushroom '
    'palace pepper pillar pipe pick racket scale screw seal skunk trailer van whistle wreck'
)
# Above these are too many things to look alike.
MOST_ROWS = 420
# Rows that say little of the word: a person is a groom, a diver or a ballplayer there.
LEFT_OUT = (
    'person individual someone somebody mortal soul human_being being organism living_thing '
    'animate_thing people agent cause causal_agent causal_agency ai atm'
)
# Everyday words for things that WordNet's tree does not put above ImageNet's classes.
MEANT = {
    'handbag': 'purse',
    'toilet': 'toilet_seat',
    'sink': 'washbasin',
    'tv': 'television',
    'cell phone': 'cellular_telephone',
    'phone': 'telephone',
    'wine glass': 'goblet',
    'potted plant': 'flowerpot',
    'sneaker': 'running_shoe',
}
ENOUGH = 5  # captions with a noun, for it to count as seen
HEADER = """# name <tab> rows of an ImageNet-1k classifier (ILSVRC order, from 0) beneath its synset
# Made by projects/photos/make_names.py from WordNet 3.0 (WORDNET_LICENSE.txt beside this file).
"""
NOUNS_HEADER = '# noun <tab> photographs that show it or what is beneath it <tab> nouns above it'


class WordNet:
    """Nouns of WordNet 3.0's database files.

    Attributes:
        senses (dict[str, list[str]]): Lemma -> synsets, the most frequent first.
        above (dict[str, list[str]]): Synset -> hypernyms, of classes and of instances.
        plurals (dict[str, list[str]]): Lemma -> irregular plurals.
    """

    def __init__(self, folder: Path) -> None:
        self.senses, self.above, self.plurals = {}, {}, defaultdict(list)
        for fields in self._lines(folder / 'index.noun'):
            self.senses[fields[0]] = fields[-int(fields[2]) :]
        for fields in self._lines(folder / 'data.noun'):
            start = 4 + 2 * int(fields[3], 16)
            count = int(fields[start])
            pointers = [fields[start + 1 + 4 * i :][:3] for i in range(count)]
            above = [to for sign, to, kind in pointers if sign in ('@', '@i') and kind == 'n']
            self.above[fields[0]] = above
        for line in (folder / 'noun.exc').read_text().splitlines():
            plural, *lemmas = line.split()
            for lemma in lemmas:
                self.plurals[lemma].append(plural)

    def and_above(self, synset: str) -> set[str]:
        """The synset and all that stand above it."""
        found, todo = set(), [synset]
        while todo:
            if (one := todo.pop()) not in found:
                found.add(one)
                todo += self.above[one]
        return found

    @staticmethod
    def _lines(path: Path) -> list[list[str]]:
        lines = path.read_text().splitlines()
        return [line.split(' | ')[0].split() for line in lines if not line.startswith('  ')]


def rows_by_name(wordnet: WordNet, classes: list[str]) -> dict[str, list[int]]:
    """Names, in lower case with spaces, -> rows beneath their first sense that has any."""
    beneath = defaultdict(list)
    for row, synset in enumerate(classes):
        for one in wordnet.and_above(synset):
            beneath[one].append(row)

    def rows(lemma: str) -> list[int]:
        senses = wordnet.senses.get(lemma, [])
        senses = senses if lemma in BY_A_RARER_SENSE.split() else senses[:LAST_SENSE]
        return next((beneath[one] for one in senses if one in beneath), [])

    found = {lemma: rows(lemma) for lemma in wordnet.senses.keys() - set(LEFT_OUT.split())}
    found.update((name, rows(lemma)) for name, lemma in MEANT.items())
    for lemma in [*found]:
        for plural in wordnet.plurals.get(lemma, []):
            found.setdefault(plural, found[lemma])
    return {
        plain(name): beneath_it
        for name, beneath_it in sorted(found.items())
        if 0 < len(beneath_it) <= MOST_ROWS
    }


def caption_nouns(wordnet: WordNet, shards: list[str]) -> list[tuple[str, int, list[str]]]:
    """Nouns, in the singular, of at least ``ENOUGH`` captions.

    Each with how many photographs show it or what stands beneath it, and with the nouns among them
    that stand above it, both by the first sense: a man is a person.
    """
    counts, photos = Counter(), []
    for sample in wds.WebDataset(shards, shardshuffle=False):
        photos.append(set())
        for caption in json.loads(sample['json'])['captions']:
            words = set(re.findall(r'[a-z]+', caption.lower()))
            forms = [[f for f in singular_forms(word) if f in wordnet.senses] for word in words]
            named = {of_word[-1] for of_word in forms if of_word}
            counts.update(named)
            photos[-1] |= named
    nouns = sorted(word for word, count in counts.items() if count >= ENOUGH)
    first = {noun: wordnet.senses[noun][0] for noun in nouns}
    over = {noun: wordnet.and_above(synset) for noun, synset in first.items()}
    above = {n: [o for o in nouns if o != n and first[o] in over[n]] for n in nouns}
    shown = Counter()
    for named in photos:
        shown.update({one for noun in named & above.keys() for one in (noun, *above[noun])})
    return [(noun, shown[noun], above[noun]) for noun in nouns]


def as_ranges(rows: list[int]) -> str:
    """[1, 2, 3, 7] -> '1-3 7'."""
    parts = []
    for row in rows:
        if parts and parts[-1][1] == row - 1:
            parts[-1][1] = row
        else:
            parts.append([row, row])
    return ' '.join(f'{a}-{b}' if a < b else f'{a}' for a, b in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--wordnet', type=Path, default=Path('/usr/share/wordnet'))
    parser.add_argument('--synsets', type=Path, required=True, help='a synset a line, as n02123045')
    parser.add_argument('--shards', nargs='+', required=True, help='captions that were trained on')
    args = parser.parse_args()
    wordnet = WordNet(args.wordnet)
    classes = [line.strip().removeprefix('n') for line in args.synsets.open()]
    rows = rows_by_name(wordnet, classes)
    lines = [f'{name}\t{as_ranges(beneath)}\n' for name, beneath in rows.items()]
    write_text(IMAGENET_NAMES, HEADER + ''.join(lines))
    seen = caption_nouns(wordnet, args.shards)
    lines = ['\t'.join([noun, str(shown), ' '.join(above)]) for noun, shown, above in seen]
    write_text(CAPTION_NOUNS, '\n'.join([NOUNS_HEADER, *lines, '']))
    print(f'{len(rows)} names with rows, {len(seen)} nouns of captions')


if __name__ == '__main__':
    main()
