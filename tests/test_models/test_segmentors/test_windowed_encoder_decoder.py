"""Batched windows and dropped scores against mmseg's own inference."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from tiny_model import images, randomise, tiny_code

from code_mm.registry import MODELS

NAMES = ['star', 'boat', 'fish']
SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
# with PAMR and the knowledge-preserving mix; a background, synonyms
HEADS = dict(
    plain=dict(),
    pamr=dict(post_processor=dict(type='PAMR', num_iter=2, dilations=(1, 2), chunk=2)),
    mix=dict(knowledge_preserving=dict(weight=0.3, templates=['a {}'])),
    everything=dict(
        post_processor=dict(type='PAMR', num_iter=2, dilations=(1,)),
        knowledge_preserving=dict(weight=0.3, templates=['a {}']),
        background_threshold=0.4,
    ),
)
SIZES = [(20, 25), (32, 32), (32, 48), (41, 67), (70, 32), (30, 90)]


def code(head='plain', **test_cfg):
    """A tiny CoDe segmentor that knows its classes."""
    model = tiny_code(
        decode_head=dict(type='ZeroShotHead', **HEADS[head]), test_cfg={**SLIDE, **test_cfg}
    ).eval()
    background = 'background_threshold' in HEADS[head]
    model.set_class_names([*(['background'] if background else []), 'car|automobile', *NAMES])
    return model


def conv_net(num_classes=3, kind='WindowedEncoderDecoder', **test_cfg):
    """An ordinary mmseg config but for the type."""
    config = dict(
        type=kind,
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            stem_channels=8,
            base_channels=8,
            out_indices=(3,),
            strides=(1,) * 4,
        ),
        decode_head=dict(
            type='FCNHead',
            in_channels=64,
            in_index=0,
            channels=8,
            num_convs=1,
            num_classes=num_classes,
            norm_cfg=dict(type='BN'),
            **(dict(out_channels=1, threshold=0.6) if num_classes == 1 else dict()),
        ),
        test_cfg={**SLIDE, **test_cfg},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return randomise(MODELS.build(ConfigDict(config))).eval()


def samples(count, size, ori_shape=None, **meta):
    meta = dict(img_shape=size, ori_shape=ori_shape or size, **meta)
    return [SegDataSample(metainfo=meta) for _ in range(count)]


def metas(image):
    return [sample.metainfo for sample in samples(len(image), tuple(image.shape[2:]))]


def mmseg_scores(model, image):
    """mmseg's own windows, one after the other."""
    return EncoderDecoder.slide_inference(model, image, metas(image))


@torch.no_grad()
@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('size', SIZES)
def test_batched_windows_give_mmsegs_scores(head, size):
    model = code(head)
    image = images(2, *size)
    expected = mmseg_scores(model, image)
    for count in (1, 3, 64):
        model.test_cfg.window_batch_size = count
        scores = model.inference(image, metas(image))
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_batched_windows_of_an_ordinary_segmentor():
    model = conv_net(window_batch_size=4)
    image = images(2, 41, 67)
    own = metas(image)
    expected = mmseg_scores(model, image)
    torch.testing.assert_close(model.inference(image, own), expected, atol=1e-5, rtol=1e-5)
    assert own[0]['img_shape'] == (41, 67)  # the caller's metas stay as they are


@torch.no_grad()
def test_windows_go_through_the_network_in_batches_and_names_are_embedded_once(monkeypatch):
    model = code(window_batch_size=3)
    seen = []
    network, text = model.extract_feat, model.backbone.text.encode_continuations
    monkeypatch.setattr(model, 'extract_feat', lambda x: (seen.append(len(x)), network(x))[1])
    embedded = []
    monkeypatch.setattr(
        model.backbone.text, 'encode_continuations', lambda *x: (embedded.append(1), text(*x))[1]
    )
    model.train().eval()  # forgets the embeddings
    model.predict(images(2, 32, 64))  # 2 images of 3 windows
    model.predict(images(1, 64, 64))
    assert seen == [3, 3, 3, 3, 3]
    assert len(embedded) == 1


META = [
    dict(),
    dict(padding_size=[1, 2, 3, 4]),
    dict(padding_size=[0, 0, 0, 9], img_padding_size=[1, 2, 3, 4]),
    dict(flip=True, flip_direction='horizontal'),
    dict(flip=True, flip_direction='vertical', padding_size=[0, 5, 0, 6]),
]


@torch.no_grad()
@pytest.mark.parametrize('meta', META)
@pytest.mark.parametrize('ori_shape', ['input', (57, 93), (23, 31)])
@pytest.mark.parametrize('mode', ['slide', 'whole'])
def test_labels_without_scores_are_mmsegs(meta, ori_shape, mode):
    size = (40, 56)
    model = code('everything', mode=mode, keep_scores=False, class_chunk=2, window_batch_size=2)
    image = images(2, *size)
    if ori_shape == 'input':  # what is left of it: labels come row by row
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        ori_shape = (size[0] - top - bottom, size[1] - left - right)
    results = model.predict(image, samples(2, size, ori_shape, **meta))
    scores = model.inference(image, metas(image))
    expected = EncoderDecoder.postprocess_result  # mmseg's
    model.test_cfg.keep_scores = True
    for one, two in zip(
        results, expected(model, scores, samples(2, size, ori_shape, **meta)), strict=True
    ):
        assert not hasattr(one, 'seg_logits')
        assert one.pred_sem_seg.data.dtype == two.pred_sem_seg.data.dtype
        assert one.pred_sem_seg.shape == ori_shape
        assert torch.equal(one.pred_sem_seg.data, two.pred_sem_seg.data)


@torch.no_grad()
@pytest.mark.parametrize('mode', ['slide', 'whole'])
@pytest.mark.parametrize('num_classes', [1, 3])
@pytest.mark.parametrize('ori_shape', [None, (40, 56), (60, 80)])
def test_labels_of_an_ordinary_segmentor(mode, num_classes, ori_shape):
    """Also where one plane and a threshold stand for two classes, and without data samples."""
    model, image = conv_net(num_classes, mode=mode), images(1, 40, 56)
    before = [samples(1, (40, 56), ori_shape) if ori_shape else None for _ in range(2)]
    (expected,) = model.predict(image, before[0])
    model.test_cfg.keep_scores = False
    (result,) = model.predict(image, before[1])
    assert hasattr(expected, 'seg_logits') and not hasattr(result, 'seg_logits')
    assert torch.equal(result.pred_sem_seg.data, expected.pred_sem_seg.data)
    assert result.pred_sem_seg.data.dtype == expected.pred_sem_seg.data.dtype
    assert 0 < result.pred_sem_seg.data.float().mean() < max(num_classes - 1, 1)


@torch.no_grad()
def test_scores_of_the_whole_image_never_exist(monkeypatch):
    """Labels that need no resizing come row by row, from windows alone."""
    model = code(keep_scores=False)
    model.set_class_names([f'class {i}' for i in range(40)])
    sizes = []
    full = torch.Tensor.argmax

    def argmax(scores, *args, **kwargs):
        sizes.append(scores.untyped_storage().nbytes())
        return full(scores, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'argmax', argmax)
    (result,) = model.predict(images(1, 320, 32), samples(1, (320, 32)))
    assert result.pred_sem_seg.shape == (320, 32)
    assert sizes and max(sizes) <= 4 * 40 * 32 * 32


@torch.no_grad()
@pytest.mark.parametrize('mode', ['slide', 'whole'])
def test_scores_on_the_cpu(mode):
    """On a CPU there is nothing to move; results must not change."""
    model, image = code(mode=mode), images(1, 40, 56)
    expected = model.inference(image, metas(image))
    model.test_cfg.scores_on_cpu = True
    scores = model.inference(image, metas(image))
    assert scores.device.type == 'cpu'
    assert torch.equal(scores, expected)


@torch.no_grad()
def test_scores_are_kept_by_default_beside_the_truth():
    model, sample = code(), samples(1, (40, 56))[0]
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 40, 56, dtype=torch.int64))
    (result,) = model.predict(images(1, 40, 56), [sample])
    assert result is sample and result.seg_logits.shape == (40, 56)
    assert torch.equal(result.pred_sem_seg.data[0], result.seg_logits.data.argmax(0))
    assert result.gt_sem_seg.data.sum() == 0
