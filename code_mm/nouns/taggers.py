"""Part-of-speech taggers: a sentence in, words with Penn Treebank tags out.

A new one is a class with ``__call__(text) -> [(word, tag), …]``, registered with
``@TAGGERS.register_module()``; a config names it, ``tagger='MyTagger'``, or gives it arguments,
``tagger=dict(type='MyTagger', …)``. The path of a class, ``'my_package.MyTagger'``, does as well.
"""

import json
import logging
from collections.abc import Callable
from functools import cache

import nltk
from mmengine.logging import print_log

from code_mm.registry import TAGGERS

TaggedWords = list[tuple[str, str]]
Tagger = Callable[[str], TaggedWords]


@TAGGERS.register_module('nltk')
class NLTKTagger:
    """NLTK's word tokenizer and averaged perceptron, as the thesis uses them."""

    def __init__(self) -> None:
        try:
            self('a dog')
        except LookupError as error:
            raise RuntimeError(
                "tagger='nltk' needs NLTK's data, which are not on this machine: run "
                '`python -m nltk.downloader punkt_tab averaged_perceptron_tagger_eng` '
                '(on another machine, and copy ~/nltk_data, where there is no network), '
                "or set tagger='textblob', which works offline"
            ) from error

    def __call__(self, text: str) -> TaggedWords:
        return nltk.pos_tag(nltk.word_tokenize(text))


@TAGGERS.register_module('textblob')
class TextBlobTagger:
    """TextBlob's PatternTagger: a lexicon and rules that ship with the package, for use offline."""

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


def build_tagger(tagger: str | dict = 'auto') -> Tagger:
    """The tagger of this config, one per process; one log line says which is in use.

    Args:
        tagger (str | dict): Name ('nltk', 'textblob' or another registered one), ``dict(type=name,
            …)`` with arguments, or 'auto': NLTK where its data are on the machine, else TextBlob.

    Raises:
        ValueError: The name is unknown.
        RuntimeError: 'nltk' was asked for, but its data are missing.
    """
    return _build(json.dumps(settled_tagger(tagger), sort_keys=True))


def settled_tagger(tagger: str | dict) -> str | dict:
    """A tagger's config as the noun cache notes it: 'auto' decided, a mere name as a string."""
    config = dict(type=tagger) if isinstance(tagger, str) else dict(tagger)
    if config['type'] == 'auto':
        config['type'] = _auto()
    return config if len(config) > 1 else config['type']


@cache
def _auto() -> str:
    try:
        NLTKTagger()
        return 'nltk'
    except RuntimeError:
        print_log("NLTK's data were not found: nouns are tagged by TextBlob", 'current')
        return 'textblob'


@cache
def _build(settled: str) -> Tagger:
    config = json.loads(settled)
    config = dict(type=config) if isinstance(config, str) else config
    name = config['type']
    if '.' not in name and name not in TAGGERS.module_dict:
        raise ValueError(
            f'expected tagger to be one of {["auto", *TAGGERS.module_dict]} or the path of a '
            f'class, but got {name!r}'
        )
    tagger = TAGGERS.build(config)
    print_log(f'Nouns are tagged by: {name}', logger='current', level=logging.INFO)
    return tagger
