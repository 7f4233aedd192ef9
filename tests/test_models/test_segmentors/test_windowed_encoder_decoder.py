"""An ordinary segmentor of mmseg with batched windows and a post-processor."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample
from tiny_model import RESNET, build, images, metas

from code_mm.registry import MODELS

SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
PAMR = dict(type='PAMR', num_iter=2, dilations=(1, 2))


@MODELS.register_module()
class KeepMasks(torch.nn.Module):
    """A post-processor that changes nothing and remembers what it got."""

    def forward(self, image, masks):
        self.image, self.masks = image, masks
        return masks


def conv_net(num_classes=3, kind='WindowedEncoderDecoder', **keys):
    """An ordinary mmseg config but for the type."""
    single = dict(out_channels=1, threshold=0.6) if num_classes < 3 else {}
    head = dict(
        type='FCNHead',
        in_channels=64,
        in_index=0,
        channels=8,
        num_convs=1,
        num_classes=num_classes,
        norm_cfg=dict(type='BN'),
        **single,
    )
    backbone = dict(RESNET, strides=(1, 1, 1, 1))
    config = dict(type=kind, backbone=backbone, decode_head=head, test_cfg=dict(mode='whole'))
    return build(ConfigDict({**config, **keys}), 0).eval()


@torch.no_grad()
@pytest.mark.parametrize('test_cfg', [SLIDE, dict(mode='whole')])
@pytest.mark.parametrize('num_classes', [1, 3])
@pytest.mark.parametrize('ori_shape', [None, (40, 56), (60, 80)])
def test_labels_without_scores(test_cfg, num_classes, ori_shape):
    """Also where one plane and a threshold stand for two classes, and without data samples."""
    model, image = conv_net(num_classes, test_cfg=test_cfg), images(1, 40, 56)
    meta = dict(img_shape=(40, 56), ori_shape=ori_shape)
    before = [[SegDataSample(metainfo=meta)] if ori_shape else None for _ in range(2)]
    (expected,) = model.predict(image, before[0])
    model.test_cfg.keep_scores = False
    (result,) = model.predict(image, before[1])
    assert hasattr(expected, 'seg_logits') and not hasattr(result, 'seg_logits')
    assert torch.equal(result.pred_sem_seg.data, expected.pred_sem_seg.data)
    assert result.pred_sem_seg.data.dtype == expected.pred_sem_seg.data.dtype
    assert 0 < result.pred_sem_seg.data.float().mean() < max(num_classes - 1, 1)


def pair(num_classes=3, post_processor=PAMR, **keys):
    """The plain model and the post-processed one, of the same weights."""
    plain = conv_net(num_classes, 'mmseg.EncoderDecoder', **keys)
    return plain, conv_net(num_classes, post_processor=post_processor, **keys)


@torch.no_grad()
def test_probabilities_are_refined_with_the_image():
    plain, model = pair()
    image = images(2, 32, 48)
    probabilities = plain.encode_decode(image, metas(image)).softmax(1)
    refined = model.encode_decode(image, metas(image))
    torch.testing.assert_close(refined, MODELS.build(PAMR)(image, probabilities))
    assert (refined - probabilities).abs().max() > 1e-3
    sample = SegDataSample(metainfo=dict(img_shape=(32, 48), ori_shape=(40, 60)))
    (result,) = model.predict(image[:1], [sample])
    expected = F.interpolate(refined[:1], (40, 60), mode='bilinear', align_corners=False)[0]
    assert (result.pred_sem_seg.data[0] == expected.argmax(0)).float().mean() > 0.999


# one plane: a class of its own, or two classes told apart by a threshold
@torch.no_grad()
@pytest.mark.parametrize('num_classes', [1, 2])
def test_a_single_plane_stays_a_logit(num_classes):
    plain, model = pair(num_classes)
    image = images(1, 32, 32)
    probability = torch.sigmoid(plain.encode_decode(image, metas(image)))
    expected = MODELS.build(PAMR)(image, probability)
    refined = model.encode_decode(image, metas(image))
    torch.testing.assert_close(torch.sigmoid(refined), expected, atol=1e-5, rtol=1e-4)
    (result,) = model.predict(image)
    label = result.pred_sem_seg.data
    assert torch.equal(label.bool(), expected[0] > 0.6) and 0 < label.float().mean() < 1
    model.decode_head.conv_seg.bias.fill_(200.0)
    assert model.encode_decode(image, metas(image)).isfinite().all()


@torch.no_grad()
def test_every_sliding_window_is_refined_with_its_own_part_of_the_image():
    model = conv_net(post_processor=dict(type='KeepMasks'), test_cfg=SLIDE)
    image = images(1, 32, 48)
    scores = model.inference(image, metas(image))
    assert torch.equal(model.post_processor.image, image[..., 16:])
    torch.testing.assert_close(scores.sum(1), torch.ones(1, 32, 48))
