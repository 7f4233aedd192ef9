"""Taggers, the nouns and phrases of what they tag, and the labels that nouns give to tokens."""

import time
from functools import cache

import nltk
import pytest

from code_mm.nouns import NounSelector, taggers, token_labels
from code_mm.nouns.noun_selector import noun_phrases, nouns
from code_mm.nouns.taggers import build_tagger, settled_tagger
from code_mm.tokenizers import CLIPTokenizer

TOKENIZER = CLIPTokenizer()


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
    path = 'code_mm.nouns.taggers.TextBlobTagger'  # by its name: test_docs_datasets.py
    assert NounSelector(path)('a dog by the sea') == ['dog', 'sea']


@pytest.mark.parametrize(
    ('find', 'text', 'found'),
    [
        (nouns, 'a/DT Paris/NNP zoo/NN old/JJ apes/NNS Alps/NNPS run/VB', 'Paris zoo apes Alps'),
        # neither repetitions nor single letters, brackets and signs
        (nouns, 'dog/NN x/NN </NN PERSON/NN >/NN dog/NN 🐱🐱/NN --/NN a-b/NN', 'dog PERSON a-b'),
        (noun_phrases, 'a/DT red/JJ ball/NN', 'red ball'),  # kept although the caption ends
        (
            noun_phrases,
            'red/JJ cup/NN of/IN hot/JJ tea/NN on/IN wood/NN',
            'red cup of hot tea, wood',
        ),
        (noun_phrases, 'cup/NN on/IN the/DT table/NN', 'cup, table'),  # not the preposition alone
        (noun_phrases, 'of/IN tea/NN with/IN', 'tea'),
        (noun_phrases, 'dog/NN red/JJ of/IN tea/NN', 'dog, tea'),
        (noun_phrases, 'red/JJ ,/, green/JJ apple/NN', 'green apple'),
        (noun_phrases, 'very/RB red/JJ', ''),
        (noun_phrases, 'dog/NN in/IN in/IN box/NN', 'dog, box'),
        # a repetition is dropped and merges nothing
        (noun_phrases, 'cat/NN ,/, dog/NN ,/, cat/NN ,/, owl/NN', 'cat, dog, owl'),
        (
            noun_phrases,
            'man/NN in/IN hat/NN in/IN rain/NN in/IN town/NN',
            'man in hat, rain in town',
        ),
    ],
)
def test_nouns_and_phrases(find, text, found):
    words = [tuple(word.rsplit('/', 1)) for word in text.split()]
    assert find(words) == [name for name in found.split(' ' if find is nouns else ', ') if name]


def test_selector_on_real_captions():
    selector = NounSelector('textblob')
    assert selector('Running quickly!') == selector('') == selector('  \n') == []
    # the entity is resolved before tagging, so there is no noun "amp"
    assert selector('salt &amp; pepper on a table') == ['salt', 'pepper', 'table']
    assert selector('<PERSON> and a dog') == ['PERSON', 'dog']
    selector = NounSelector('textblob', 'noun_phrase')
    assert selector('a red cup on the old wooden table') == ['red cup', 'old wooden table']
    with pytest.raises(ValueError, match=r"word_type in \['noun', 'noun_phrase'\].*'verb'"):
        NounSelector('textblob', 'verb')


@pytest.mark.parametrize('sign', ['_', '(', "'", 'a', 'a\n'])
def test_endless_texts_take_no_time(sign):
    """TextBlob takes minutes for a hundred thousand signs in a row."""
    selector = NounSelector('textblob')
    start = time.process_time()
    assert selector('a dog and a cat ' + 100_000 * sign)[:2] == ['dog', 'cat']
    assert time.process_time() - start < 10


# Labels of the tokens behind the start: _ none, 0 a noun not selected, j the j-th selected one.
@pytest.mark.parametrize(
    ('caption', 'names', 'selected', 'labels'),
    [
        ('a dog past another dog and a doghouse', 'dog doghouse', 'doghouse dog', '_2__2__11'),
        # one name in another: selected ones override others, later ones earlier ones
        ('traffic lights in a traffic jam', 'traffic_lights traffic', 'traffic', '10__1_'),
        ('a sheepdog, a hotdog and a DOG', 'sheepdog hotdog dog', 'dog sheepdog', '_22__0__1'),
        ('a sheepdog', 'sheepdog dog', 'dog', '_01'),
        ('a café &amp; a brûlée', 'café brûlée', 'brûlée', '_0__11111'),
        ('a a a', 'a_a', 'a_a', '111'),
        ('', 'dog', 'dog', ''),
    ],
)
def test_labels_of_tokens(caption, names, selected, labels):
    names, selected = ([n.replace('_', ' ') for n in text.split()] for text in (names, selected))
    expected = [-1 if label == '_' else int(label) for label in f'_{labels}_'.ljust(20, '_')]
    ids = TOKENIZER.tokenize(caption, 20)[0]
    assert token_labels(ids, names, selected, TOKENIZER).tolist() == expected
    short = TOKENIZER.tokenize(f'{caption} brûlée', len(labels) + 4)[0]  # cut within the word
    assert token_labels(short, ['brûlée'], [], TOKENIZER)[-3:].tolist() == [-1] * 3
