from collections import Counter

import numpy as np
import pytest

from code_mm.datasets.transforms import SelectNouns
from code_mm.structures.unusable_sample import UnusableSample


def test_draws_without_replacement_anew_on_every_visit():
    np.random.seed(0)
    transform, pairs = SelectNouns(2), Counter()
    for _ in range(1200):
        pairs[tuple(transform(dict(nouns=['dog', 'cat', 'sofa']))['selected_nouns'])] += 1
    assert len(pairs) == 6 and all(a != b for a, b in pairs)  # every ordered pair
    assert all(140 < count < 260 for count in pairs.values())  # 200 each, 4.6 sigma


def test_what_cannot_be_drawn_from():
    with pytest.raises(UnusableSample, match=r"few_nouns .*'a dog', num_nouns=2"):
        SelectNouns(2)(dict(caption='a dog', nouns=['dog']))
    with pytest.raises(KeyError, match='put LoadNouns before it'):
        SelectNouns()(dict(caption='a dog'))
    with pytest.raises(ValueError, match='expected num_nouns >= 1'):
        SelectNouns(0)
