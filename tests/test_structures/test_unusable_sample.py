import pickle

import pytest

from code_mm.structures.unusable_sample import UNUSABLE_REASONS, UnusableSample


def test_reason_and_detail():
    problem = UnusableSample('few_nouns', "['dog'] in 'a dog'")
    assert (problem.reason, problem.detail) == ('few_nouns', "['dog'] in 'a dog'")
    assert str(problem) == "few_nouns (['dog'] in 'a dog')"
    assert str(UnusableSample('empty_caption')) == 'empty_caption'


def test_it_crosses_processes():
    problem = pickle.loads(pickle.dumps(UnusableSample('broken_image', 'cut')))
    assert (problem.reason, problem.detail) == ('broken_image', 'cut')


def test_unknown_reason():
    with pytest.raises(ValueError, match=r"expected reason to be one of .* got 'bad'"):
        UnusableSample('bad')
    assert len(set(UNUSABLE_REASONS)) == len(UNUSABLE_REASONS)
