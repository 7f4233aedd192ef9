"""Class names and parts of a zero-shot segmentor; scores and labels: parity, test_dense_clip.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.structures import SegDataSample
from tiny_model import RESNET, SIZES, images, tiny_code
from tiny_model import build as build_config

from code_mm.models.segmentors import zero_shot_segmentor
from code_mm.registry import MODELS
from code_mm.vocabulary import embed_vocabulary

NAMES = ['star', 'boat', 'fish']
TEXT = dict(type='CLIP', image_tower=False, **SIZES)
PROJECTED = dict(type='ZeroShotHead', in_channels=64, embed_dim=32, project=True)


def build(head=None, **keys):
    """MaskCLIP, tiny."""
    config = dict(
        type='ZeroShotSegmentor',
        backbone=dict(type='CLIP', **SIZES),
        decode_head=dict(type='ZeroShotHead', in_channels=32, **(head or {})),
        test_cfg=dict(mode='whole'),
    )
    return build_config(ConfigDict({**config, **keys}), 0).eval()


def supervised(text=TEXT, **keys):
    """A ResNet that learns to speak CLIP's language."""
    return build(backbone=RESNET, decode_head=PROJECTED, vision_language_backbone=text, **keys)


def code():
    mix = dict(type='ZeroShotHead', knowledge_preserving=dict(weight=0.3))
    return tiny_code(decode_head=mix).eval()


@torch.no_grad()
def test_logits_are_of_the_best_synonym_behind_a_constant_background():
    model = build(class_names=['background', 'car|automobile', 'boat'], background_threshold=0.7)
    model.set_background_threshold(0.4)  # the classes stay
    image, to_mask = images(2, 16, 24), model.similarity_to_mask
    dense = F.normalize(model.backbone(image)[0], dim=1)
    cosine = torch.einsum('bchw,nc->bnhw', dense, model.vocabulary.embeddings)
    each = to_mask.scale * cosine + to_mask.bias
    plane = torch.full_like(each[:, 0], math.log(0.4 / 0.6))
    expected = torch.stack([plane, each[:, :2].amax(1), each[:, 2]], dim=1)
    torch.testing.assert_close(model(image, mode='tensor'), expected)
    assert model.out_channels == model.num_classes == model.decode_head.num_classes == 3


@pytest.fixture(params=[build, code, supervised])
def model(request):
    return request.param()


def test_names_are_embedded_when_first_needed(model, monkeypatch):
    """After names were set, weights loaded or moved, or training and evaluation exchanged."""
    calls, image = [], images(1, 32, 32)

    def embed(names, *args):
        calls.append(names)
        return embed_vocabulary(names, *args)

    def scores():
        return model.predict(image)[0].seg_logits.data

    monkeypatch.setattr(zero_shot_segmentor, 'embed_vocabulary', embed)
    model.set_class_names(NAMES)
    assert not calls
    first = scores()
    assert torch.equal(scores(), first) and model.eval() is model and torch.equal(scores(), first)
    assert calls == [tuple(NAMES)]
    model.set_class_names(['tree', 'house'])
    assert scores().shape == (2, 32, 32) and len(calls) == 2
    assert model.num_classes == model.out_channels == 2
    model.set_class_names(NAMES)
    torch.testing.assert_close(scores(), first)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict({name: 1.5 * value for name, value in kept.items()})
    assert not torch.allclose(scores(), first) and len(calls) == 4
    assert model.train() is model and model.eval() is model
    for name, value in model.state_dict().items():
        value.copy_(kept[name])
    torch.testing.assert_close(scores(), first)
    image = image.double()
    model.double()
    torch.testing.assert_close(scores().float(), first, atol=1e-4, rtol=1e-3)
    assert len(calls) == 6


def test_names_that_do_not_fit_are_refused_when_set(model):
    """And forgotten where a background appears or goes."""
    model.set_class_names(NAMES)
    with pytest.raises(ValueError, match=r'takes \d+ tokens where \d+ fit'):
        model.set_class_names(['star', 'fish ' * 30])
    assert model.class_names == tuple(NAMES)
    model.set_background_threshold(0.4)
    assert model.class_names is None
    with pytest.raises(ValueError, match=r"expected 'background' as the first"):
        model.set_class_names(NAMES)
    with pytest.raises(ValueError, match=r'threshold in \(0, 1\), but got 40'):
        model.set_background_threshold(40)
    assert model.background_threshold == 0.4


def test_names_of_the_data_set_are_taken_where_none_were_given():
    """As ``mmseg.apis.init_model`` leaves them."""
    model, image = build(), images(1, 32, 32)
    with pytest.raises(RuntimeError, match='no class names are known; add ClassNamesHook'):
        model.predict(image)
    model.dataset_meta = dict(classes=('tree', 'house'), palette=None)
    assert model.predict(image)[0].seg_logits.data.shape == (2, 32, 32)
    model.set_class_names(NAMES)  # wins from now on
    model.train().eval()
    assert model.predict(image)[0].seg_logits.data.shape == (3, 32, 32)


def test_names_of_the_config_come_back_for_training():
    model = build(class_names=['background', *NAMES], background_threshold=0.4)
    model.set_background_threshold(None)
    model.set_class_names(['tree', 'house'])
    model.train()
    assert model.class_names == ('background', *NAMES) and model.background_threshold == 0.4


FCN = dict(type='FCNHead', in_channels=32, channels=8, num_classes=3, in_index=0)
SCORES = dict(name_scores=dict(type='KeepCosines'))  # do not go with what refines windows
MIX = dict(knowledge_preserving=dict(weight=0.3))


@pytest.mark.parametrize(
    ('make', 'error', 'match'),
    [
        (lambda: build(decode_head=FCN), TypeError, 'ZeroShotHead, but got FCNHead; use Windowed'),
        (lambda: supervised(text=None), TypeError, 'ResNetV1c has no text tower; add one'),
        (lambda: build(dict(embed_dim=5)), ValueError, 'in_channels is 32; set project=True'),
        (lambda: build(SCORES | MIX), ValueError, 'no knowledge_preserving with name_scores'),
        (
            lambda: build(SCORES | dict(post_processor=dict(type='PAMR'))),
            ValueError,
            'no post_processor with name_scores',
        ),
        (
            lambda: build(decode_head=PROJECTED, backbone=RESNET, type='mmseg.EncoderDecoder')(
                images(1, 32, 32)
            ),
            TypeError,
            r"needs a vocabulary.*use type='ZeroShotSegmentor'",
        ),
    ],
)
def test_parts_that_do_not_go_together(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_weights_that_are_named_but_not_loaded_are_missed():
    """Of a text tower of its own; of the backbone: test_model_weights.py."""
    text = dict(TEXT, init_cfg=dict(type='Pretrained', checkpoint='clip.pt'))
    model, image = supervised(text=text, class_names=NAMES), images(1, 32, 32)
    with pytest.raises(RuntimeError, match=r'trained weights, but this CLIP .*init_weights\(\)'):
        model.predict(image)
    model.load_state_dict(model.state_dict())
    model.predict(image)


@MODELS.register_module()
class SharpCosines(torch.nn.Module):
    def forward(self, cosines, vocabulary, similarity_to_mask):
        assert similarity_to_mask.scale.ndim == 0
        return vocabulary.best_synonym((9.0 * cosines).softmax(1))


def test_name_scores_come_after_averaging_and_resizing():
    windows = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    model = build(dict(name_scores=dict(type='SharpCosines')), test_cfg=windows)
    model.set_class_names(['star|moon', 'boat'])
    image = images(1, 32, 48)
    sample = SegDataSample(metainfo=dict(img_shape=(32, 48), ori_shape=(50, 75)))
    total = torch.zeros(1, 3, 32, 48)
    for left in (0, 16):
        dense = F.normalize(model.backbone(image[..., left : left + 32])[0], dim=1)
        cosine = torch.einsum('bchw,nc->bnhw', dense, model.vocabulary.embeddings)
        total[..., left : left + 32] += F.interpolate(cosine, (32, 32), mode='bilinear')
    total[..., 16:32] /= 2
    names = F.interpolate(total, (50, 75), mode='bilinear').mul(9.0).softmax(1)[0]
    expected = torch.stack([names[:2].amax(0), names[2]])
    (found,) = model.predict(image, [sample.clone()])
    torch.testing.assert_close(found.seg_logits.data, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.pred_sem_seg.data, expected.argmax(0, keepdim=True))
    # a decision of their own leaves the scores as they are
    model.decode_head.name_scores.decide = lambda scores: scores.argmin(1)
    (other,) = model.predict(image, [sample.clone()])
    assert torch.equal(other.pred_sem_seg.data, 1 - found.pred_sem_seg.data)
    assert torch.equal(other.seg_logits.data, found.seg_logits.data)
    # labels alone, and without samples
    model.test_cfg.keep_scores = False
    (labels,), (small,) = model.predict(image, [sample]), model.predict(image)
    assert torch.equal(labels.pred_sem_seg.data, other.pred_sem_seg.data)
    assert 'seg_logits' not in labels and small.pred_sem_seg.shape == (32, 48)
