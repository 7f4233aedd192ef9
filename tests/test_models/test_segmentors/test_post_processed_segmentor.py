import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_model import images, randomise

from code_mm.registry import MODELS

BACKBONE = dict(
    type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, out_indices=(3,), strides=(1,) * 4
)
PAMR = dict(type='PAMR', num_iter=2, dilations=(1, 2))


@MODELS.register_module(force=True)
class KeepMasks(torch.nn.Module):
    """A post-processor that changes nothing and remembers what it got."""

    def forward(self, image, masks):
        self.image, self.masks = image, masks
        return masks


def build(kind='PostProcessedSegmentor', num_classes=3, test_cfg=None, head=None, **keys):
    """An ordinary mmseg config but for the type and one key."""
    config = dict(
        type=kind,
        backbone=BACKBONE,
        decode_head=dict(
            type='FCNHead',
            in_channels=64,
            in_index=0,
            channels=8,
            num_convs=1,
            num_classes=num_classes,
            norm_cfg=dict(type='BN'),
            **(head or dict()),
        ),
        test_cfg=test_cfg or dict(mode='whole'),
        **keys,
    )
    torch.manual_seed(0)
    return randomise(MODELS.build(ConfigDict(config))).eval()


def meta(image):
    shape = tuple(image.shape[-2:])
    return [dict(img_shape=shape, ori_shape=shape)] * len(image)


def pair(**keys):
    """The plain model and the post-processed one with its weights."""
    post_processor = keys.pop('post_processor', PAMR)
    plain = build('mmseg.EncoderDecoder', **keys)
    model = build(post_processor=post_processor, **keys)
    model.load_state_dict(plain.state_dict())
    return plain, model


@pytest.mark.parametrize('num_classes', [2, 3])
def test_probabilities_are_refined_with_the_image(num_classes):
    plain, model = pair(num_classes=num_classes)
    image = images(2, 32, 48)
    logits = plain.encode_decode(image, meta(image))
    expected = MODELS.build(PAMR)(image, logits.softmax(1))
    refined = model.encode_decode(image, meta(image))
    torch.testing.assert_close(refined, expected)
    torch.testing.assert_close(refined.sum(1), torch.ones(2, 32, 48))
    assert (refined - logits.softmax(1)).abs().max() > 1e-3


# one plane: a class of its own, or two classes told apart by a threshold
@pytest.mark.parametrize('keys', [dict(num_classes=1), dict(num_classes=2)])
def test_a_single_plane_stays_a_logit(keys):
    head = dict(out_channels=1, threshold=0.6)
    plain, model = pair(head=head, post_processor=dict(type='KeepMasks'), **keys)
    image = images(1, 32, 32)
    logits = plain.encode_decode(image, meta(image))
    probability = torch.sigmoid(model.encode_decode(image, meta(image)))
    torch.testing.assert_close(probability, torch.sigmoid(logits), atol=2e-6, rtol=0)
    torch.testing.assert_close(model.post_processor.masks, torch.sigmoid(logits))
    (one,), (two,) = plain.predict(image), model.predict(image)
    assert torch.equal(one.pred_sem_seg.data, two.pred_sem_seg.data)
    assert 0 < two.pred_sem_seg.data.float().mean() < 1
    _, refined = pair(head=head, **keys)
    expected = MODELS.build(PAMR)(image, torch.sigmoid(logits))
    result = torch.sigmoid(refined.encode_decode(image, meta(image)))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


def test_a_certain_plane_stays_finite():
    _, model = pair(num_classes=1, head=dict(out_channels=1, threshold=0.5))
    with torch.no_grad():
        model.decode_head.conv_seg.bias.fill_(200.0)
    image = images(1, 32, 32)
    assert model.encode_decode(image, meta(image)).isfinite().all()


def test_every_sliding_window_is_refined_with_its_own_part_of_the_image():
    test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    _, model = pair(test_cfg=test_cfg, post_processor=dict(type='KeepMasks'))
    image = images(1, 32, 48)
    scores = model.inference(image, meta(image))
    assert torch.equal(model.post_processor.image, image[..., 16:])
    torch.testing.assert_close(scores.sum(1), torch.ones(1, 32, 48))


def test_training_is_untouched():
    plain, model = pair()
    image = images(2, 32, 32)
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, 32, 32)))
        samples.append(sample)
    one, two = plain.loss(image, samples), model.loss(image, samples)
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_the_winner_is_that_of_the_refined_probabilities():
    plain, model = pair()
    image = images(1, 32, 32)
    refined = MODELS.build(PAMR)(image, plain.encode_decode(image, meta(image)).softmax(1))
    sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(40, 40)))
    (result,) = model.predict(image, [sample])
    expected = F.interpolate(refined, (40, 40), mode='bilinear', align_corners=False)[0].argmax(0)
    assert (result.pred_sem_seg.data[0] == expected).float().mean() > 0.999


def test_the_post_processor_must_be_named():
    with pytest.raises(TypeError, match='post_processor'):
        build()
