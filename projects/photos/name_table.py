"""Which rows of ImageNet's classifier a name stands for.

The one rule. A name is read in lower case up to its first preposition ('bowl of soup' is a bowl).
It stands for the rows of the longest run of its last words that the table knows, in the form given
or in the singular: 'old dining tables' are dining tables, 'my table' is a table. Words in front
are lost thereby. A name none of whose last words is known goes through the text tower.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from code_mm.ops import l2_normalize

IMAGENET_NAMES = Path(__file__).with_name('names') / 'imagenet_names.tsv'
CAPTION_NOUNS = IMAGENET_NAMES.with_name('caption_nouns.txt')
_PREPOSITION = re.compile(r'\s(?:of|on|in|with|at|by|for|from|to|under|near|behind|over)\s')


@dataclass(frozen=True)
class NameTable:
    """Names and what was seen of them.

    Attributes:
        by_name (dict[str, tuple[int, ...]]): Name -> rows of the classifier, ILSVRC order.
        nouns (dict[str, int]): Nouns of the captions that the text tower's head learnt from -> how
            many of the ``photos`` show such a thing.
        above (dict[str, tuple[str, ...]]): Nouns -> those of them that stand above it in WordNet.
        photos (int): How many photographs the captions are of.
    """

    by_name: dict[str, tuple[int, ...]]
    nouns: dict[str, int]
    above: dict[str, tuple[str, ...]]
    photos: int = 6000

    def rows(self, name: str) -> tuple[int, ...]:
        """Rows that a name stands for by the rule above; empty where the text tower is asked."""
        return next((self.by_name[form] for form in _forms(name) if form in self.by_name), ())

    def log_share(self, name: str) -> float:
        """Logarithm of the share of photographs that show what a name says, as far as is known.

        Captions seldom name what fills a photograph, such as sky and wall. What has no rows is
        mostly of that kind: it counts twenty times.
        """
        shown = next((self.nouns[form] for form in _forms(name) if form in self.nouns), 0)
        return math.log((shown / self.photos + 0.002) * (1 if self.rows(name) else 20))

    def unseen(self, names: Sequence[str]) -> list[str]:
        """Those of the names that no photograph was ever seen of: neither rows nor captions."""
        return [
            name
            for name in names
            if not self.rows(name) and not any(form in self.nouns for form in _forms(name))
        ]


@lru_cache(maxsize=1)
def shipped_names() -> NameTable:
    """The table in ``names/``, made by ``make_names.py``."""
    by_name = {}
    for line in IMAGENET_NAMES.read_text('utf-8').splitlines():
        if not line.startswith('#'):
            name, ranges = line.split('\t')
            ends = [[int(end) for end in part.split('-')] for part in ranges.split()]
            by_name[name] = tuple(row for e in ends for row in range(e[0], e[-1] + 1))
    nouns, above = {}, {}
    for line in CAPTION_NOUNS.read_text('utf-8').splitlines():
        if not line.startswith('#'):
            noun, shown, over = line.split('\t')
            nouns[noun], above[noun] = int(shown), tuple(over.split())
    return NameTable(by_name, nouns, above)


def plain(name: str) -> str:
    """Lower case, words between single spaces, without punctuation: 'T-shirt' -> 't shirt'."""
    return ' '.join(re.findall(r"[a-z0-9']+", name.lower()))


def singular_forms(word: str) -> list[str]:
    """A word and what it may be the regular plural of, the likeliest last."""
    forms = [word]
    if word.endswith('s') and not word.endswith('ss'):
        forms.append(word[:-1])
    if word.endswith(('ses', 'xes', 'zes', 'ches', 'shes', 'oes')):
        forms.append(word[:-2])
    if word.endswith('ies'):
        forms.append(word[:-3] + 'y')
    return forms


def centred_rows(class_weights: Tensor) -> Tensor:
    """A classifier's rows [classes, c] among mean-free features: less their mean, unit length."""
    return l2_normalize(class_weights - class_weights.mean(dim=0), dim=-1)


def _forms(name: str) -> Iterator[str]:
    """What a name may stand in the table as, the most particular first."""
    words = _PREPOSITION.split(plain(name), maxsplit=1)[0].split()
    for start in range(len(words)):
        *front, last = words[start:]
        for form in singular_forms(last):
            yield ' '.join([*front, form])
