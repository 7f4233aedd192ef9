import numpy as np
import pytest
import torch

from code_mm.datasets.transforms import PackCaptionInputs, TokenizeCaption


def sample(**kwargs):
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    return dict(
        img=image, img_shape=(4, 6), ori_shape=(9, 9), sample_key='0.tar/1', flip=True, **kwargs
    )


def test_inputs_fields_and_metainfo():
    nouns = dict(nouns=['dog', 'cat'], selected_nouns=['cat', 'dog'])
    results = TokenizeCaption(8, 4, ['{}'])(sample(caption='a dog, a cat', **nouns, other=3))
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
        **nouns,
        text_lengths=dict(noun=3, guide=3, caption=7),
        img_shape=(4, 6),
        ori_shape=(9, 9),
        flip=True,
    )
    assert data.to('meta').caption_ids.device.type == 'meta'  # fields follow the sample


def test_a_flipped_image_and_a_caption_alone():
    results = TokenizeCaption(8)(sample(caption='a dog'))
    results['img'] = results['img'][:, ::-1]
    packed = PackCaptionInputs()(results)
    assert (packed['inputs'].numpy() == results['img'].transpose(2, 0, 1)).all()
    assert packed['inputs'].is_contiguous()
    assert list(packed['data_samples'].keys()) == ['caption_ids']


def test_missing_tokens():
    with pytest.raises(KeyError, match=r'put TokenizeCaption before.*or set require_caption=False'):
        PackCaptionInputs()(sample(caption='a dog'))
