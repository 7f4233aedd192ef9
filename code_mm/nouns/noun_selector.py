"""The noun selector: which things does a caption name? (thesis §3.1)."""

import re
from collections.abc import Iterable
from pathlib import Path

from code_mm.text_file import entries
from code_mm.tokenizers.clip_tokenizer import clean_text

from .taggers import TaggedWords, build_tagger

_NOUN_TAGS = frozenset({'NN', 'NNS', 'NNP', 'NNPS'})
# of noun phrases: n(oun), a(djective), p(reposition)
_KINDS = dict.fromkeys(_NOUN_TAGS, 'n') | dict.fromkeys(('JJ', 'JJR', 'JJS'), 'a') | {'IN': 'p'}
_PHRASE = re.compile('[an]*n(p[an]*n)?')
# Characters that are tagged. TextBlob's time grows with the square of the length of a run of
# signs, and no text tower sees as much.
_MAX_TAGGED = 10_000


class NounSelector:
    """Reads the nouns of a caption, in caption order and without repetition.

    Single letters, ``<`` and ``>`` (from tags such as ``<PERSON>``) and words
    without any letter or digit are no nouns, whatever their tag. Only the first
    10 000 characters are looked at.

    Args:
        tagger (str | dict): Of :func:`build_tagger`.
        word_type (str): 'noun': single words tagged NN, NNS, NNP or NNPS. 'noun_phrase': see
            :func:`noun_phrases`.
    """

    def __init__(self, tagger: str | dict = 'auto', word_type: str = 'noun') -> None:
        selections = dict(noun=nouns, noun_phrase=noun_phrases)
        if word_type not in selections:
            raise ValueError(f'expected word_type in {list(selections)}, but got {word_type!r}')
        self._tag = build_tagger(tagger)
        self._select = selections[word_type]

    def __call__(self, caption: str) -> list[str]:
        """The nouns (or phrases) of ``caption``; empty where it names nothing."""
        caption = clean_text(caption[:_MAX_TAGGED])
        return self._select(self._tag(caption)) if caption else []


def no_things() -> list[str]:
    """Words that taggers take for nouns of captions but that name nothing one could point at."""
    text = Path(__file__).with_name('no_things.txt').read_text()
    return [word for _, line in entries(text) for word in line.split()]


def nouns(words: TaggedWords) -> list[str]:
    """The single-word nouns among tagged words, each once, in their order."""
    return _unique_names(word for word, tag in words if tag in _NOUN_TAGS)


def noun_phrases(words: TaggedWords) -> list[str]:
    """The noun phrases among tagged words, each once, in their order.

    A chunk is a run of adjectives and nouns that ends with a noun. Two chunks
    with one preposition and nothing else between them are one phrase; a phrase
    holds one preposition at most: "a red cup of coffee on wood" gives
    ``['red cup of coffee', 'wood']``.
    """
    kinds = ''.join(_KINDS.get(tag, '-') for _, tag in words)
    spans = (match.span() for match in _PHRASE.finditer(kinds))
    return _unique_names(' '.join(word for word, _ in words[slice(*span)]) for span in spans)


def _unique_names(names: Iterable[str]) -> list[str]:
    """Drop repetitions, single letters and names without letter or digit."""
    return [
        name for name in dict.fromkeys(names) if len(name) > 1 and any(c.isalnum() for c in name)
    ]
