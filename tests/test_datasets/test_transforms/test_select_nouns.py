from collections import Counter

import numpy as np
import pytest

from code_mm.datasets.transforms import SelectNouns
from code_mm.structures.unusable_sample import UnusableSample

CAPTION = 'a dog and a cat on the sofa'


def test_draws_without_replacement_anew_on_every_visit():
    transform = SelectNouns(2, 'textblob')
    np.random.seed(0)
    pairs = Counter()
    for _ in range(1200):
        results = transform(dict(caption=CAPTION))
        assert results['nouns'] == ['dog', 'cat', 'sofa']
        pairs[tuple(results['selected_nouns'])] += 1
    assert all(a != b for a, b in pairs)
    assert len(pairs) == 6  # every ordered pair
    assert all(140 < count < 260 for count in pairs.values())  # 200 each, 4.6 sigma


def test_same_seed_same_nouns():
    transform = SelectNouns(2, 'textblob')
    draws = []
    for _ in range(2):
        np.random.seed(5)
        draws.append([transform(dict(caption=CAPTION))['selected_nouns'] for _ in range(9)])
    assert draws[0] == draws[1]


def test_nouns_of_the_sample_win_over_tagging():
    results = SelectNouns(2, 'textblob')(dict(caption=CAPTION, nouns=['tail', 'paw']))
    assert results['nouns'] == ['tail', 'paw']
    assert sorted(results['selected_nouns']) == ['paw', 'tail']


def test_noun_phrases():
    transform = SelectNouns(1, 'textblob', 'noun_phrase')
    results = transform(dict(caption='a red ball'))
    assert results['selected_nouns'] == ['red ball']


@pytest.mark.parametrize(
    'sample',
    [dict(caption='gravel'), dict(caption='Running!'), dict(caption=CAPTION, nouns=['dog'])],
)
def test_too_few_nouns(sample):
    with pytest.raises(UnusableSample, match=r'few_nouns .*num_nouns=2') as error:
        SelectNouns(2, 'textblob')(sample)
    assert repr(sample['caption']) in str(error.value)


def test_mistakes():
    with pytest.raises(ValueError, match='expected num_nouns >= 1'):
        SelectNouns(0)
    with pytest.raises(ValueError, match='expected word_type'):
        SelectNouns(tagger='textblob', word_type='verb')
    with pytest.raises(ValueError, match='expected tagger'):
        SelectNouns(tagger='spacy')
