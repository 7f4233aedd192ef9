import pytest
import torch
from tiny_model import tiny_code

from code_mm.apis import confusable_class_names


@pytest.fixture(scope='module')
def model():
    return tiny_code().eval()


def test_pairs_are_the_cosines_of_the_models_embeddings(model):
    words = ('cat', 'dog', 'car|automobile')
    found = confusable_class_names(model, words, quantile=0.5)
    model.set_class_names(['cat', 'dog', 'car', 'automobile'])
    cosine = model.decode_head.class_embeddings @ model.decode_head.class_embeddings.T
    expected = {
        ('cat', 'dog'): cosine[0, 1],
        ('cat', words[2]): cosine[0, 2:].max(),
        ('dog', words[2]): cosine[1, 2:].max(),
    }
    assert {pair[:2] for pair in found.pairs} == set(expected)
    for first, second, value in found.pairs:
        assert value == pytest.approx(float(expected[first, second]), abs=1e-6)
    values = [value for *_, value in found.pairs]
    assert values == sorted(values, reverse=True)
    assert found.limit == pytest.approx(values[1])
    assert found.confusable == found.pairs[:2]


def test_a_name_written_in_two_ways_comes_first(model):
    """CLIP's tokenizer knows no capitals: 'Cat' is 'cat'."""
    found = confusable_class_names(model, ('boat', 'cat', 'moon', 'Cat'), quantile=0.99)
    assert [pair[:2] for pair in found.confusable] == [('cat', 'Cat')]
    assert found.pairs[0][2] == pytest.approx(1.0, abs=1e-5)


def test_the_background_is_no_name(model):
    model.set_background_threshold(0.4)
    model.set_class_names(['background', 'cat', 'dog'])
    assert len(confusable_class_names(model, ('cat', 'dog')).pairs) == 1
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    'words, quantile, message',
    [(('cat',), 0.9, 'at least two'), (('cat', 'dog'), 1.5, r'quantile in \[0, 1\]')],
)
def test_mistakes(model, words, quantile, message):
    with pytest.raises(ValueError, match=message):
        confusable_class_names(model, words, quantile)
