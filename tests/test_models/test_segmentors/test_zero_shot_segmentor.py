import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_model import RESNET, SIZES, images, metas, tiny_code
from tiny_model import build as build_config

from code_mm.models.segmentors import zero_shot_segmentor
from code_mm.registry import MODELS
from code_mm.vocabulary import EVALUATION_TEMPLATES, embed_in_templates, embed_vocabulary

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


def supervised(**keys):
    """A ResNet that learns to speak CLIP's language."""
    return build(backbone=RESNET, decode_head=PROJECTED, vision_language_backbone=TEXT, **keys)


@torch.no_grad()
def expected_scores(model, image, left=0, right=0, top=0, bottom=0):
    """Zero padding, cosine on the patch grid, sigmoid, bilinear resizing, un-padding."""
    padded = F.pad(image, (left, right, top, bottom))
    dense = F.normalize(model.backbone(padded)[0], dim=1)
    names = [name for name in model.class_names if name != 'background']
    embeddings = embed_in_templates(names, model.backbone, EVALUATION_TEMPLATES)
    cosine = torch.einsum('bchw,nc->bnhw', dense, embeddings)
    scores = model.similarity_to_mask(cosine)
    scores = F.interpolate(scores, padded.shape[-2:], mode='bilinear', align_corners=False)
    return scores[:, :, top : top + image.shape[2], left : left + image.shape[3]]


class KeepImage(torch.nn.Module):
    def forward(self, image, masks):
        self.image, self.size = image, masks.shape[2:]
        return masks


@pytest.mark.parametrize(
    ('size', 'padding'),
    [
        ((30, 37), (1, 2, 1, 1)),  # the right and the bottom get the odd pixel
        ((5, 16), (0, 0, 1, 2)),  # smaller than a patch
    ],
)
def test_windows_are_padded_to_whole_patches(size, padding):
    """The post-processor gets the padded image; of the scores the padding is cut off again."""
    model = build(class_names=NAMES)
    keep = model.decode_head.post_processor = KeepImage()
    image = images(2, *size)
    scores = model.inference(image, metas(image))
    torch.testing.assert_close(scores, expected_scores(model, image, *padding))
    assert torch.equal(keep.image, F.pad(image, padding))
    assert keep.size == tuple(side // 8 for side in keep.image.shape[2:])


def test_a_background_wins_where_no_class_reaches_its_threshold():
    model = build(background_threshold=0.7)
    model.set_class_names(['background', *NAMES])
    model.set_background_threshold(0.5)  # the classes stay
    assert model.out_channels == model.num_classes == model.decode_head.num_classes == 4
    image = images(1, 32, 32)
    sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(50, 60)))
    (result,) = model.predict(image, [sample])
    scores = expected_scores(model, image)
    scores = F.interpolate(scores, (50, 60), mode='bilinear', align_corners=False)[0]
    expected = torch.where(scores.amax(0) > 0.5, scores.argmax(0) + 1, 0)
    assert 0 < (expected == 0).float().mean() < 1
    assert torch.equal(result.pred_sem_seg.data[0], expected)
    torch.testing.assert_close(result.seg_logits.data[1:], scores)


def code():
    mix = dict(type='ZeroShotHead', knowledge_preserving=dict(weight=0.3))
    return tiny_code(decode_head=mix).eval()


@pytest.fixture(params=[build, code, supervised])
def model(request):
    return request.param()


def test_names_are_embedded_when_first_needed(model, monkeypatch):
    """After names were set, weights loaded or moved, or training and evaluation exchanged."""
    calls, image = [], images(1, 32, 32)

    def embed(names, *args):
        calls.append(names)
        return embed_vocabulary(names, *args)

    monkeypatch.setattr(zero_shot_segmentor, 'embed_vocabulary', embed)
    model.set_class_names(NAMES)
    assert not calls
    first = model.predict(image)[0].seg_logits.data
    assert torch.equal(model.eval().predict(image)[0].seg_logits.data, first)
    assert calls == [tuple(NAMES)]
    model.set_class_names(['tree', 'house'])
    assert model.predict(image)[0].seg_logits.shape == (32, 32) and len(calls) == 2
    assert model.num_classes == model.out_channels == 2
    model.set_class_names(NAMES)
    torch.testing.assert_close(model.predict(image)[0].seg_logits.data, first)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict({name: 1.5 * value for name, value in kept.items()})
    assert not torch.allclose(model.predict(image)[0].seg_logits.data, first) and len(calls) == 4
    assert model.train() is model and model.eval() is model
    for name, value in model.state_dict().items():
        value.copy_(kept[name])
    torch.testing.assert_close(model.predict(image)[0].seg_logits.data, first)
    double = model.double().predict(image.double())[0].seg_logits.data
    torch.testing.assert_close(double.float(), first, atol=1e-4, rtol=1e-3)
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
    assert model.class_names == ('tree', 'house')
    model.set_class_names(NAMES)  # wins from now on
    model.train().eval()
    assert model.predict(image)[0].seg_logits.data.shape == (3, 32, 32)


def test_names_of_the_config_come_back_for_training():
    model = build(class_names=['background', *NAMES], background_threshold=0.4)
    model.set_background_threshold(None)
    model.set_class_names(['tree', 'house'])
    model.train()
    assert model.class_names == ('background', *NAMES) and model.background_threshold == 0.4


def test_parts_that_do_not_go_together():
    head = dict(type='FCNHead', in_channels=32, channels=8, num_classes=3, in_index=0)
    with pytest.raises(TypeError, match='ZeroShotHead, but got FCNHead; use WindowedEncoderDecod'):
        build(decode_head=head)
    with pytest.raises(TypeError, match='ResNetV1c has no text tower; add one'):
        build(backbone=RESNET, decode_head=PROJECTED)


@pytest.mark.parametrize('of', ['backbone', 'vision_language_backbone'])
def test_weights_that_are_named_but_not_loaded_are_missed(of):
    clip = dict(type='CLIP', init_cfg=dict(type='Pretrained', checkpoint='clip.pth'), **SIZES)
    keys = {} if of == 'backbone' else dict(backbone=RESNET, decode_head=PROJECTED)
    model, image = build(class_names=NAMES, **{**keys, of: clip}), images(1, 32, 32)
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
    del model.decode_head.name_scores.decide
    # labels alone, and without samples
    model.test_cfg.keep_scores = False
    (labels,), (small,) = model.predict(image, [sample]), model.predict(image)
    assert torch.equal(labels.pred_sem_seg.data, found.pred_sem_seg.data)
    assert 'seg_logits' not in labels and small.pred_sem_seg.shape == (32, 48)


@pytest.mark.parametrize('background', [None, 0.4])
def test_trained_by_cross_entropy_with_the_names_of_its_labels(background):
    """Left half class 0, right half class 1, 255 in a corner; the text tower stays frozen."""
    names = ['background', 'star', 'boat'] if background else NAMES
    model = supervised(class_names=names, background_threshold=background)
    label = torch.zeros(32, 32, dtype=torch.long)
    label[:, 16:] = 1
    label[:4, :4] = 255
    image = torch.where(label[None] == 1, 1.0, -1.0).expand(3, -1, -1).contiguous()
    image = torch.stack([image, image]) + 0.1 * images(2, 32, 32)
    truth = PixelData(data=label[None])
    samples = [SegDataSample(metainfo=meta, gt_sem_seg=truth) for meta in metas(image)]
    logits = model.decode_head(model.extract_feat(image), model.vocabulary)
    logits = F.interpolate(logits, (32, 32), mode='bilinear', align_corners=False)
    chosen = logits.log_softmax(1).gather(1, label.clamp(max=2).expand(2, 1, -1, -1))
    value = model.loss(image, samples)['decode.loss_ce']
    torch.testing.assert_close(value, -chosen[:, 0, label != 255].mean())

    value.backward()
    learning = {n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None}
    assert learning == {'backbone', 'decode_head'}
    model = supervised()
    with pytest.raises(ValueError, match='class_names, the names of the training labels; got none'):
        model.loss(image, samples)
