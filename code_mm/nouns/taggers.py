"""Part-of-speech taggers: a sentence in, words with Penn Treebank tags out."""

import logging
from collections.abc import Callable
from functools import cache

import nltk
from mmengine.logging import print_log

TaggedWords = list[tuple[str, str]]
Tagger = Callable[[str], TaggedWords]

TAGGERS = ('auto', 'nltk', 'textblob')


class NLTKTagger:
    """NLTK's word tokenizer and averaged perceptron, as the thesis uses them.

    Raises:
        LookupError: NLTK's data are not on this machine.
    """

    def __init__(self) -> None:
        self('a dog')  # loads the data or raises NLTK's LookupError

    def __call__(self, text: str) -> TaggedWords:
        return nltk.pos_tag(nltk.word_tokenize(text))


class TextBlobTagger:
    """TextBlob's PatternTagger: a lexicon and rules that ship with the package.

    It needs no download and works offline.
    """

    def __init__(self) -> None:
        # TextBlob takes a second to import, which users of NLTK need not wait for.
        from textblob.en.taggers import PatternTagger

        self._tagger = PatternTagger()
        self('a dog')  # reads the lexicon now, so that forked workers share it

    def __call__(self, text: str) -> TaggedWords:
        # NLTK splits "<PERSON>", the anonymised names of CC12M, into three words;
        # the pattern tagger has to be helped, and writes a slash as an entity.
        text = text.replace('<', ' < ').replace('>', ' > ')
        return [(word.replace('&slash;', '/'), tag) for word, tag in self._tagger.tag(text)]


@cache
def build_tagger(name: str = 'auto') -> Tagger:
    """The tagger of this name, one per process; one log line says which is in use.

    Args:
        name: ``'nltk'``, ``'textblob'``, or ``'auto'``: NLTK where its data are on
            the machine, else TextBlob.

    Returns:
        A function from a sentence to ``[(word, tag), …]`` in the sentence's order.

    Raises:
        ValueError: unknown name.
        RuntimeError: ``'nltk'`` was asked for, but its data are missing.
    """
    if name not in TAGGERS:
        raise ValueError(f'expected tagger to be one of {list(TAGGERS)}, but got {name!r}')
    if name == 'textblob':
        return _announced(TextBlobTagger(), 'TextBlob PatternTagger')
    try:
        return _announced(NLTKTagger(), 'NLTK averaged perceptron')
    except LookupError as error:
        if name == 'nltk':
            raise RuntimeError(
                "tagger='nltk' needs NLTK's data, which are not on this machine: run "
                '`python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng` '
                '(on another machine, and copy ~/nltk_data, where there is no network), '
                "or set tagger='textblob', which works offline"
            ) from error
        return _announced(TextBlobTagger(), "TextBlob PatternTagger (NLTK's data not found)")


def _announced(tagger: Tagger, description: str) -> Tagger:
    print_log(f'Nouns are tagged by: {description}', logger='current', level=logging.INFO)
    return tagger
