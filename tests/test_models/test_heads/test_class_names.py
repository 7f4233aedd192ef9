import pytest
import torch
from code_mm.models.heads.class_names import best_synonym, phrases_by_class


def test_synonyms_and_background():
    names = ['background', 'car | automobile', 'grey sofa']
    assert phrases_by_class(names, background=True) == [['car', 'automobile'], ['grey sofa']]
    assert phrases_by_class(names, background=False)[0] == ['background']


@pytest.mark.parametrize('names', [[], ['cat', ''], ['cat', ' | '], ['cat', 3], 'cat'])
def test_names_that_are_no_names(names):
    with pytest.raises(ValueError, match='expected a list of non-empty class names'):
        phrases_by_class(names, background=False)


@pytest.mark.parametrize('names', [['cat', 'dog'], ['background']])
def test_a_background_plane_needs_its_name_and_a_class(names):
    with pytest.raises(ValueError, match="expected 'background' as the first of at least two"):
        phrases_by_class(names, background=True)


def test_one_class_alone_would_be_everywhere():
    with pytest.raises(ValueError, match='every pixel would be this class'):
        phrases_by_class(['cat'], background=False)


def test_best_synonym_is_the_maximum_of_its_class():
    scores = torch.tensor([0.1, 0.7, 0.4, 0.2]).view(1, 4, 1, 1)
    assert best_synonym(scores, [2, 1, 1]).flatten().tolist() == pytest.approx([0.7, 0.4, 0.2])
    assert best_synonym(scores, [1, 1, 1, 1]) is scores
