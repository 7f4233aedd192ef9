"""SelectNouns, TokenizeCaption and PackCaptionInputs, which follow one another."""

from collections import Counter

import numpy as np
import pytest
import torch

from code_mm.datasets.transforms import PackCaptionInputs, SelectNouns, TokenizeCaption
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.tokenizers import CLIPTokenizer

tokenize = CLIPTokenizer().tokenize
NOUNS = ['dog', 'cat', 'sofa']


def sample(*selected):
    keys = dict(nouns=NOUNS, selected_nouns=list(selected), sample_key='0.tar/1', flip=True)
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    keys |= dict(img=image, img_shape=(4, 6), ori_shape=(9, 9), other=3)
    return dict(caption='a dog and a cat on the sofa', **keys)


def test_nouns_are_drawn_without_replacement_anew_on_every_visit():
    np.random.seed(0)
    transform, pairs = SelectNouns(2), Counter()
    for _ in range(1200):
        pairs[tuple(transform(dict(nouns=NOUNS))['selected_nouns'])] += 1
    assert len(pairs) == 6 and all(a != b for a, b in pairs)  # every ordered pair
    assert all(140 < count < 260 for count in pairs.values())  # 200 each, 4.6 sigma


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


def test_braces_in_a_noun_a_caption_alone_and_a_long_one():
    results = TokenizeCaption(12, 8, ['a {}.'])(sample('{}', '{x}'))
    assert torch.equal(results['guide_ids'], tokenize(['a {}.', 'a {x}.'], 12))
    assert TokenizeCaption(12)(dict(caption='a dog')).keys() == {'caption', 'caption_ids'}
    results = TokenizeCaption(5, 3)(sample('sofa', 'dog'))  # cut with its labels
    assert results['caption_ids'][-1] == 49407
    assert results['token_labels'].tolist() == [-1, -1, 2, -1, -1]


def test_what_is_packed():
    results = TokenizeCaption(12, 5, ['{}'])(sample('cat', 'dog'))
    results['img'] = results['img'][:, ::-1]  # flipped: not contiguous
    packed = PackCaptionInputs()(results)
    assert packed.keys() == {'inputs', 'data_samples'}
    assert packed['inputs'].dtype == torch.uint8 and packed['inputs'].is_contiguous()
    assert (packed['inputs'].numpy() == results['img'].transpose(2, 0, 1)).all()
    data = packed['data_samples']
    assert set(data.keys()) == {'caption_ids', 'token_labels', 'noun_ids', 'guide_ids'}
    for field in data.keys():  # noqa: SIM118
        assert torch.equal(getattr(data, field), results[field])
    names = ('sample_key', 'caption', 'nouns', 'selected_nouns', 'img_shape', 'ori_shape', 'flip')
    lengths = dict(noun=3, guide=3, caption=10)
    assert data.metainfo == {**{name: results[name] for name in names}, 'text_lengths': lengths}
    assert data.to('meta').caption_ids.device.type == 'meta'  # fields follow the sample
    alone = TokenizeCaption(12)(dict(caption='a dog', img=results['img']))
    assert list(PackCaptionInputs()(alone)['data_samples'].keys()) == ['caption_ids']


@pytest.mark.parametrize(
    ('act', 'error', 'match'),
    [
        (
            lambda: SelectNouns(2)(dict(caption='a dog', nouns=['dog'])),
            UnusableSample,
            r"few_nouns .*'a dog', num_nouns=2",
        ),
        (lambda: SelectNouns()(dict(caption='a dog')), KeyError, 'put LoadNouns before it'),
        (lambda: SelectNouns(0), ValueError, 'expected num_nouns >= 1'),
        (lambda: TokenizeCaption(noun_context_length=0), ValueError, 'noun_context_length >= 3'),
        (
            lambda: PackCaptionInputs()(sample()),
            KeyError,
            r'put TokenizeCaption before.*or set require_caption=False',
        ),
    ],
)
def test_mistakes(act, error, match):
    with pytest.raises(error, match=match):
        act()
