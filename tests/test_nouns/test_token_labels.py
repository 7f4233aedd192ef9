import pytest

from code_mm.nouns import token_labels
from code_mm.tokenizers import CLIPTokenizer

TOKENIZER = CLIPTokenizer()


def slow_labels(ids, names, selected):
    """Labels position by position: the last name whose occurrence covers it wins."""
    labels = []
    ranked = [(name, 0) for name in names] + [(name, j + 1) for j, name in enumerate(selected)]
    for position in range(len(ids)):
        label = -1
        for name, value in ranked:
            tokens = TOKENIZER.encode(name)
            for start in range(position - len(tokens) + 1, position + 1):
                if tokens and start >= 0 and ids[start : start + len(tokens)] == tokens:
                    label = value
        labels.append(label)
    return labels


@pytest.mark.parametrize(
    ('caption', 'names', 'selected'),
    [
        ('a dog chases another dog past the doghouse', ['dog', 'doghouse'], ['doghouse', 'dog']),
        ('the traffic light above a traffic jam', ['traffic light', 'traffic'], ['traffic']),
        ('a sheepdog, a hotdog and a DOG', ['sheepdog', 'hotdog', 'dog'], ['dog', 'sheepdog']),
        ('café tables &amp; crème brûlée', ['café', 'tables', 'brûlée'], ['brûlée', 'café']),
        ('a a a', ['a a', ''], ['a a']),
        ('', ['dog'], ['dog']),
    ],
)
def test_against_slow_labels(caption, names, selected):
    for length in (5, 9, 20):  # of which the first cut names away
        ids = TOKENIZER.tokenize(caption, length)[0]
        labels = token_labels(ids, names, selected, TOKENIZER)
        assert labels.tolist() == slow_labels(ids.tolist(), names, selected)
