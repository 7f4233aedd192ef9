import time

import pytest

from code_mm.nouns.noun_selector import NounSelector, noun_phrases, nouns


def tag(text):
    """'red/JJ cup/NN' -> [('red', 'JJ'), ('cup', 'NN')]."""
    return [tuple(word.rsplit('/', 1)) for word in text.split()]


def test_nouns():
    words = tag('a/DT Paris/NNP zoo/NN old/JJ apes/NNS and/CC Alps/NNPS run/VB')
    assert nouns(words) == ['Paris', 'zoo', 'apes', 'Alps']
    # neither repetitions nor single letters, brackets and signs
    words = tag('dog/NN x/NN </NN PERSON/NN >/NN dog/NN 🐱🐱/NN --/NN Dog/NN t-shirt/NN')
    assert nouns(words) == ['dog', 'PERSON', 'Dog', 't-shirt']


@pytest.mark.parametrize(
    ('words', 'phrases'),
    [
        ('a/DT red/JJ ball/NN', ['red ball']),  # the phrase that ends the caption is kept
        ('a/DT red/JJ cup/NN of/IN hot/JJ tea/NN on/IN wood/NN', ['red cup of hot tea', 'wood']),
        ('cup/NN on/IN the/DT table/NN', ['cup', 'table']),  # not the preposition alone
        ('of/IN tea/NN with/IN', ['tea']),
        ('dog/NN red/JJ of/IN tea/NN', ['dog', 'tea']),
        ('red/JJ ,/, green/JJ apple/NN', ['green apple']),
        ('very/RB red/JJ', []),
        ('dog/NN in/IN in/IN box/NN', ['dog', 'box']),
        # a repetition is dropped and merges nothing
        ('cat/NN ,/, dog/NN ,/, cat/NN ,/, owl/NN', ['cat', 'dog', 'owl']),
        ('man/NN in/IN hat/NN in/IN rain/NN in/IN town/NN', ['man in hat', 'rain in town']),
    ],
)
def test_noun_phrases(words, phrases):
    assert noun_phrases(tag(words)) == phrases


def test_selector_on_real_captions():
    selector = NounSelector('textblob')
    assert selector('a dog and a cat on the sofa') == ['dog', 'cat', 'sofa']
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
