import numpy as np
import pytest
import torch

from code_mm.datasets.transforms import TokenizeCaption
from code_mm.tokenizers import CLIPTokenizer

tokenize = CLIPTokenizer().tokenize


def sample(*selected):
    nouns = dict(nouns=['dog', 'cat', 'sofa'], selected_nouns=list(selected))
    return dict(caption='a dog and a cat on the sofa', **nouns)


def test_ids_and_labels():
    np.random.seed(0)
    transform = TokenizeCaption(12, 5, guide_templates=['scan of {}', 'my {}!'])
    results = transform(sample('sofa', 'dog'))
    np.random.seed(0)
    drawn = [('scan of {}', 'my {}!')[np.random.randint(2)] for _ in range(2)]
    guides = [t.format(noun) for t, noun in zip(drawn, ('sofa', 'dog'), strict=True)]
    assert torch.equal(results['caption_ids'], tokenize(results['caption'], 12)[0])
    assert torch.equal(results['noun_ids'], tokenize(['sofa', 'dog'], 5))
    assert torch.equal(results['guide_ids'], tokenize(guides, 12))
    # start a dog and a cat on the sofa end pad pad
    assert results['token_labels'].tolist() == [-1, -1, 2, -1, -1, 0, -1, -1, 1, -1, -1, -1]
    fields = ('caption_ids', 'noun_ids', 'guide_ids', 'token_labels')
    assert all(results[field].dtype == torch.int64 for field in fields)
    guide = max(len(text.split()) + 2 + text.endswith('!') for text in guides)
    assert results['text_lengths'] == dict(noun=3, guide=guide, caption=10)


def test_braces_in_a_noun_are_kept():
    results = TokenizeCaption(12, 8, ['a {}.'])(sample('{}', '{x}'))
    assert torch.equal(results['guide_ids'], tokenize(['a {}.', 'a {x}.'], 12))


def test_a_caption_alone_and_a_long_one():
    assert TokenizeCaption(12)(dict(caption='a dog')).keys() == {'caption', 'caption_ids'}
    results = TokenizeCaption(5, 3)(sample('sofa', 'dog'))  # cut with its labels
    assert results['caption_ids'][-1] == 49407
    assert results['token_labels'].tolist() == [-1, -1, 2, -1, -1]


def test_mistakes():
    with pytest.raises(ValueError, match='noun_context_length >= 3'):
        TokenizeCaption(noun_context_length=0)
