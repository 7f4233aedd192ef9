from functools import cache

import nltk
import pytest

from code_mm.nouns import NounSelector, taggers
from code_mm.nouns.taggers import build_tagger, settled_tagger


@pytest.fixture(autouse=True)
def log(monkeypatch):
    """What is logged; nothing of the caches outlives a test."""
    lines = []
    monkeypatch.setattr(taggers, 'print_log', lambda message, *_, **__: lines.append(message))
    for name in ('_auto', '_build'):
        monkeypatch.setattr(taggers, name, cache(getattr(taggers, name).__wrapped__))
    return lines


def test_textblob_tags_without_data():
    tagged = dict(build_tagger('textblob')('a brown dog sleeps on two old sofas in Paris'))
    expected = dict(dog='NN', sofas='NNS', brown='JJ', Paris='NNP', on='IN')
    assert {word: tagged[word] for word in expected} == expected
    words = [word for word, _ in build_tagger('textblob')('<PERSON> with a hat/cap')]
    assert words == ['<', 'PERSON', '>', 'with', 'a', 'hat/cap']


def test_auto_prefers_nltk_where_its_data_are(monkeypatch, log):
    monkeypatch.setattr(nltk, 'word_tokenize', str.split)
    monkeypatch.setattr(nltk, 'pos_tag', lambda words: [(word, 'NN') for word in words])
    assert build_tagger('auto')('a dog') == [('a', 'NN'), ('dog', 'NN')]
    assert log == ['Nouns are tagged by: nltk']
    assert build_tagger('auto') is build_tagger('nltk') is build_tagger(dict(type='nltk'))


def test_auto_falls_back_and_says_so_once(monkeypatch, log):
    def fail(*_):
        raise LookupError('Resource punkt_tab not found')

    monkeypatch.setattr(nltk, 'word_tokenize', fail)
    for _ in range(3):
        assert ('dog', 'NN') in build_tagger('auto')('a dog')
    assert log == [
        "NLTK's data were not found: nouns are tagged by TextBlob",
        'Nouns are tagged by: textblob',
    ]
    assert settled_tagger('auto') == 'textblob'
    with pytest.raises(RuntimeError, match=r'nltk\.downloader punkt_tab .*textblob'):
        build_tagger('nltk')
    with pytest.raises(ValueError, match=r"one of \['auto', 'nltk', 'textblob'.*'spacy'"):
        build_tagger('spacy')


def test_a_tagger_by_the_path_of_its_class():  # by its name: test_docs.py
    path = 'code_mm.nouns.taggers.TextBlobTagger'
    assert NounSelector(path)('a dog by the sea') == ['dog', 'sea']
    assert settled_tagger(path) == path
