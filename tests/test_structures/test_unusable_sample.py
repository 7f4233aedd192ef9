import pickle

import pytest

from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample


def test_reason_and_detail_cross_processes():
    problem = pickle.loads(pickle.dumps(UnusableSample('few_nouns', "['dog'] in 'a dog'")))
    assert (problem.reason, problem.detail) == ('few_nouns', "['dog'] in 'a dog'")
    assert str(problem) == "few_nouns (['dog'] in 'a dog')"
    assert str(UnusableSample('empty_caption')) == 'empty_caption'
    with pytest.raises(ValueError, match=r"expected reason to be one of .* got 'bad'"):
        UnusableSample('bad')
    assert len(set(UNUSABLE_REASONS)) == len(UNUSABLE_REASONS)
