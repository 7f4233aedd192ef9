from collections import Counter

import numpy as np
import pytest
import torch

from code_mm.datasets.transforms import TokenizeCaption
from code_mm.tokenizers import CLIPTokenizer
from code_mm.vocabulary import get_templates

tokenize = CLIPTokenizer().tokenize


def sample():
    return dict(
        caption='a dog and a cat on the sofa',
        nouns=['dog', 'cat', 'sofa'],
        selected_nouns=['sofa', 'dog'],
    )


def test_ids_and_labels():
    np.random.seed(0)
    transform = TokenizeCaption(12, 5, guide_templates=['scan of {}', 'my {}!'])
    results = transform(sample())
    np.random.seed(0)
    drawn = [('scan of {}', 'my {}!')[np.random.randint(2)] for _ in range(2)]
    guides = [t.format(noun) for t, noun in zip(drawn, ('sofa', 'dog'), strict=True)]
    assert torch.equal(results['caption_ids'], tokenize(sample()['caption'], 12)[0])
    assert torch.equal(results['noun_ids'], tokenize(['sofa', 'dog'], 5))
    assert torch.equal(results['guide_ids'], tokenize(guides, 12))
    # start a dog and a cat on the sofa end pad pad
    assert results['token_labels'].tolist() == [-1, -1, 2, -1, -1, 0, -1, -1, 1, -1, -1, -1]
    fields = ('caption_ids', 'noun_ids', 'guide_ids', 'token_labels')
    assert all(results[field].dtype == torch.int64 for field in fields)
    guide = max(len(text.split()) + 2 + text.endswith('!') for text in guides)
    assert results['text_lengths'] == dict(noun=3, guide=guide, caption=10)


def test_every_imagenet_template_is_drawn():
    transform = TokenizeCaption(20, 5)
    rows = {
        tuple(row): number
        for number, row in enumerate(
            tokenize([t.format('dog') for t in get_templates('imagenet')], 20).tolist()
        )
    }
    np.random.seed(0)
    counts = Counter()
    for _ in range(600):
        results = transform(dict(sample(), selected_nouns=['dog'] * 4))
        counts.update(rows[tuple(row)] for row in results['guide_ids'].tolist())
    assert len(counts) == 80
    assert max(counts.values()) < 60  # 30 expected


def test_braces_in_a_noun_are_kept():
    results = TokenizeCaption(12, 8, ['a {}.'])(dict(sample(), selected_nouns=['{}', '{x}']))
    assert torch.equal(results['guide_ids'], tokenize(['a {}.', 'a {x}.'], 12))


def test_caption_alone():
    results = TokenizeCaption(12)(dict(caption='a dog'))
    assert results.keys() == {'caption', 'caption_ids'}


def test_long_captions_are_cut_with_their_labels():
    results = TokenizeCaption(5, 3)(dict(sample()))
    assert results['caption_ids'][-1] == 49407
    assert results['token_labels'].tolist() == [-1, -1, 2, -1, -1]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(context_length=2), 'expected context_length >= 3'),
        (dict(noun_context_length=0), 'expected noun_context_length >= 3'),
        (dict(guide_templates='imagnet'), "'imagenet', 'vild', 'custom'"),
        (dict(guide_templates=['no place']), "but got 'no place'"),
    ],
)
def test_mistakes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TokenizeCaption(**kwargs)
