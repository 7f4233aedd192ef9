import numpy as np
import pytest
import torch

from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption


def sample(**kwargs):
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    return dict(
        img=image, img_shape=(4, 6), ori_shape=(9, 9), sample_key='0.tar/1', flip=True, **kwargs
    )


def full():
    results = sample(
        caption='a dog, a cat', nouns=['dog', 'cat'], selected_nouns=['cat', 'dog'], other=3
    )
    return TokenizeCaption(8, 4, ['{}'])(results)


def test_inputs_fields_and_metainfo():
    results = full()
    packed = PackCaptionInputs()(results)
    assert packed.keys() == {'inputs', 'data_samples'}
    assert packed['inputs'].dtype == torch.uint8
    assert (packed['inputs'].numpy() == results['img'].transpose(2, 0, 1)).all()
    data = packed['data_samples']
    assert set(data.keys()) == {'caption_ids', 'token_labels', 'noun_ids', 'guide_ids'}
    for field in data.keys():  # noqa: SIM118
        assert torch.equal(getattr(data, field), results[field])
    assert data.metainfo == dict(
        sample_key='0.tar/1',
        caption='a dog, a cat',
        nouns=['dog', 'cat'],
        selected_nouns=['cat', 'dog'],
        text_lengths=dict(noun=3, guide=3, caption=7),
        img_shape=(4, 6),
        ori_shape=(9, 9),
        flip=True,
    )


def test_fields_follow_the_sample_to_a_device():
    data = PackCaptionInputs()(full())['data_samples'].to('meta')
    assert data.caption_ids.device.type == 'meta'
    assert data.noun_ids.shape == (2, 4)


def test_flipped_images_are_packed_too():
    results = full()
    results['img'] = results['img'][:, ::-1]
    packed = PackCaptionInputs(meta_keys=['sample_key'])(results)
    assert (packed['inputs'].numpy() == results['img'].transpose(2, 0, 1)).all()
    assert packed['inputs'].is_contiguous()
    assert packed['data_samples'].metainfo == dict(sample_key='0.tar/1')


def test_caption_alone():
    packed = PackCaptionInputs()(TokenizeCaption(8)(sample(caption='a dog')))
    assert list(packed['data_samples'].keys()) == ['caption_ids']


def test_missing_tokens():
    with pytest.raises(KeyError, match='put TokenizeCaption before PackCaptionInputs'):
        PackCaptionInputs()(sample(caption='a dog'))
