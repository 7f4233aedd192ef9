from collections import Counter

import numpy as np
import pytest

from code_mm.datasets.transforms import SelectNouns
from code_mm.structures.unusable_sample import UnusableSample

CAPTION = 'a dog and a cat on the sofa'


def sample(*nouns):
    return dict(caption=CAPTION, nouns=list(nouns))


def test_draws_without_replacement_anew_on_every_visit():
    np.random.seed(0)
    transform, pairs = SelectNouns(2), Counter()
    for _ in range(1200):
        pairs[tuple(transform(sample('dog', 'cat', 'sofa'))['selected_nouns'])] += 1
    assert all(a != b for a, b in pairs)
    assert len(pairs) == 6  # every ordered pair
    assert all(140 < count < 260 for count in pairs.values())  # 200 each, 4.6 sigma


def test_same_seed_same_nouns():
    draws = []
    for _ in range(2):
        np.random.seed(5)
        draws.append([SelectNouns()(sample(*'abcde'))['selected_nouns'] for _ in range(9)])
    assert draws[0] == draws[1]


def test_too_few_nouns():
    with pytest.raises(UnusableSample, match=r'few_nouns .*num_nouns=2') as error:
        SelectNouns(2)(sample('dog'))
    assert repr(CAPTION) in str(error.value)


def test_mistakes():
    with pytest.raises(ValueError, match='expected num_nouns >= 1'):
        SelectNouns(0)
    with pytest.raises(KeyError, match='put LoadNouns before it'):
        SelectNouns()(dict(caption=CAPTION))
