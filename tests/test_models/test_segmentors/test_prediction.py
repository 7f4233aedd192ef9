"""Settings, memory and labels of prediction; scores and labels against mmseg's own inference."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from tiny_model import RESNET, build, images, metas, tiny_code
from torch.multiprocessing.reductions import StorageWeakRef

from code_mm.models.segmentors.prediction import restore, winning_class
from code_mm.models.segmentors.windows import average_by_rows
from code_mm.registry import MODELS

NAMES = ['background', 'car|automobile', 'star', 'boat', 'fish']
SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
PAMR = dict(type='PAMR', num_iter=2, dilations=(1, 2), chunk=2)


def code(**test_cfg):
    """A tiny CoDe segmentor that knows its classes, with PAMR, the mix and a background."""
    mix = dict(weight=0.3, templates=['a {}'])
    head = dict(type='ZeroShotHead', post_processor=PAMR, knowledge_preserving=mix)
    keys = dict(decode_head=head, background_threshold=0.4, test_cfg={**SLIDE, **test_cfg})
    model = tiny_code(**keys).eval()
    model.set_class_names(NAMES)
    return model


def conv_net(num_classes=3, kind='WindowedEncoderDecoder', **keys):
    """An ordinary mmseg config but for the type."""
    head = dict(type='FCNHead', in_channels=64, in_index=0, channels=8, num_convs=1)
    head.update(num_classes=num_classes, norm_cfg=dict(type='BN'))
    if num_classes < 3:
        head.update(out_channels=1, threshold=0.6)
    backbone = dict(RESNET, strides=(1, 1, 1, 1))
    config = dict(type=kind, backbone=backbone, decode_head=head, test_cfg=dict(mode='whole'))
    return build(ConfigDict({**config, **keys}), 0).eval()


def samples(image, ori_shape=None, **meta):
    meta |= dict(ori_shape=ori_shape) if ori_shape else {}
    return [SegDataSample(metainfo={**shapes, **meta}) for shapes in metas(image)]


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(mode='slied'), "mode to be 'whole' or 'slide', but got 'slied'"),
        (dict(window_batch_sise=4), r"among .*'window_batch_size'.*got \['window_batch_sise'\]"),
        (dict(window_batch_size=2.0), 'window_batch_size to be an integer >= 1, but got 2.0'),
        (dict(keep_scores='no'), "keep_scores to be True or False, but got 'no'"),
        (dict(crop_size=None), r'crop_size to be \(height, width\) .*, but got None'),
        (dict(stride=(16, 33)), r'stride <= crop_size, but got \(16, 33\) and \(32, 32\): pixels'),
    ],
)
def test_mistakes_in_test_cfg_are_named_when_the_model_is_built(changed, message):
    with pytest.raises(ValueError, match=message):
        tiny_code(test_cfg={**SLIDE, **changed})
    with pytest.raises(ValueError, match=r"\['horizontal', 'vertical'\], but got 'diagonal'"):
        restore(torch.zeros(2, 4, 4), dict(flip=True, flip_direction='diagonal'))


@torch.no_grad()
@pytest.mark.parametrize('size', [(20, 25), (41, 67)])
def test_batched_windows_give_mmsegs_scores(monkeypatch, size):
    model, image, seen = code(), images(2, *size), []
    expected = EncoderDecoder.slide_inference(model, image, metas(image))
    network = model.extract_feat
    monkeypatch.setattr(model, 'extract_feat', lambda x: (seen.append(len(x)), network(x))[1])
    for count in (3, 64):
        model.test_cfg.update(window_batch_size=count, scores_on_cpu=count == 3)
        scores = model.inference(image, metas(image))
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    # windows of both images: 2, or 2 x 2 x 4
    assert seen == ([2, 2] if size == (20, 25) else [3, 3, 3, 3, 3, 1, 16])


@torch.no_grad()
@pytest.mark.parametrize('mode', ['slide', 'whole'])
@pytest.mark.parametrize('resized', [False, True])
@pytest.mark.parametrize(
    'meta',
    [
        dict(padding_size=[0, 0, 0, 9], img_padding_size=[1, 2, 3, 4]),
        dict(flip=True, flip_direction='horizontal'),
        dict(flip=True, flip_direction='vertical', padding_size=[0, 5, 0, 6]),
    ],
)
def test_labels_without_scores_are_mmsegs(meta, resized, mode):
    model = code(mode=mode, keep_scores=False, class_chunk=2, window_batch_size=2)
    image = images(2, 40, 56)
    # what is left of the input, where labels come row by row, or another size
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    ori_shape = (57, 93) if resized else (40 - top - bottom, 56 - left - right)
    results = model.predict(image, samples(image, ori_shape, **meta))
    scores = model.inference(image, metas(image))
    model.test_cfg.keep_scores = True
    expected = EncoderDecoder.postprocess_result(model, scores, samples(image, ori_shape, **meta))
    for one, two in zip(results, expected, strict=True):
        assert not hasattr(one, 'seg_logits')
        assert one.pred_sem_seg.data.dtype == two.pred_sem_seg.data.dtype
        assert one.pred_sem_seg.shape == ori_shape
        assert torch.equal(one.pred_sem_seg.data, two.pred_sem_seg.data)


@torch.no_grad()
@pytest.mark.parametrize('test_cfg', [SLIDE, dict(mode='whole')])
@pytest.mark.parametrize('num_classes', [1, 3])
@pytest.mark.parametrize('ori_shape', [None, (60, 80)])
def test_labels_of_an_ordinary_segmentor_without_scores(test_cfg, num_classes, ori_shape):
    """Also where one plane and a threshold stand for two classes, and without data samples."""
    model, image = conv_net(num_classes, test_cfg=test_cfg), images(1, 40, 56)

    def predict():
        return model.predict(image, samples(image, ori_shape) if ori_shape else None)[0]

    scored, model.test_cfg.keep_scores = predict(), False
    labels = predict()
    assert hasattr(scored, 'seg_logits') and not hasattr(labels, 'seg_logits')
    assert torch.equal(labels.pred_sem_seg.data, scored.pred_sem_seg.data)
    assert labels.pred_sem_seg.data.dtype == scored.pred_sem_seg.data.dtype
    assert 0 < labels.pred_sem_seg.data.float().mean() < max(num_classes - 1, 1)


@torch.no_grad()
def test_scores_of_the_whole_image_never_exist(monkeypatch):
    """Labels that need no resizing come row by row, from windows alone."""
    model = tiny_code(test_cfg={**SLIDE, 'keep_scores': False}).eval()
    sizes, full = [], torch.Tensor.argmax
    model.set_class_names([f'class {i}' for i in range(40)])

    def argmax(scores, *args, **kwargs):
        sizes.append(scores.untyped_storage().nbytes())
        return full(scores, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'argmax', argmax)
    image = images(1, 320, 32)
    (result,) = model.predict(image, samples(image))
    assert result.pred_sem_seg.shape == (320, 32)
    assert sizes and max(sizes) <= 4 * 40 * 32 * 32


def test_rows_come_as_soon_as_no_further_window_touches_them():
    """Half precision is summed in single: the mean of what windows show is the image."""
    images, heights, handed_out = torch.rand(1, 3, 50, 10).half(), [], []

    def predict(windows, _):
        # no rows are held behind the caller's back
        assert all(storage.expired() for storage in handed_out)
        return windows.clone()

    for part in average_by_rows(images, predict, (20, 10), (10, 10)):
        start = sum(heights)
        heights.append(part.shape[2])
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, images[:, :, start : start + heights[-1]].float())
        assert part.untyped_storage().nbytes() <= 4 * 3 * 20 * 10
        handed_out.append(StorageWeakRef(part.untyped_storage()))
        del part
    assert heights == [10, 10, 10, 20]


@pytest.mark.parametrize('chunk', [1, 3, 50])
def test_chunks_of_classes_give_the_arg_max_of_all(chunk):
    x = torch.rand(7, 9, 14, generator=torch.Generator().manual_seed(0))
    for size, align_corners in (((31, 17), False), ((5, 6), True)):
        whole = F.interpolate(x[None], size, mode='bilinear', align_corners=align_corners)[0]
        label = winning_class(x, size, chunk, align_corners)
        assert label.dtype == torch.int64
        assert torch.equal(label, whole.argmax(dim=0, keepdim=True))
    pixels = (2 * x).floor().flatten(1)  # the lowest of tied classes wins
    expected = [pixel.index(max(pixel)) for pixel in pixels.T.tolist()]
    assert winning_class((2 * x).floor(), (9, 14), chunk).flatten().tolist() == expected
    for first in (0, 2, 4):  # NaN wins, as in argmax
        x[first, 1, 2] = x[4, 1, 2] = float('nan')
        assert torch.equal(winning_class(x, (9, 14), chunk), x.argmax(0, keepdim=True))


@torch.no_grad()
@pytest.mark.parametrize('num_classes', [1, 2])
def test_one_plane_of_probability_is_refined_and_stays_a_logit(num_classes):
    """Of which mmseg takes the sigmoid afterwards; several planes: test_mixing.py."""
    plain = conv_net(num_classes, 'mmseg.EncoderDecoder')  # of the same weights
    model, image = conv_net(num_classes, post_processor=PAMR), images(1, 32, 48)
    probability, found = (m.encode_decode(image, metas(image)).sigmoid() for m in (plain, model))
    expected = MODELS.build(PAMR)(image, probability)
    assert (expected - probability).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    label = model.predict(image)[0].pred_sem_seg.data
    assert torch.equal(label, (expected[0] > 0.6).to(label)) and 0 < label.mean() < 1
    model.decode_head.conv_seg.bias.fill_(200.0)
    assert model.encode_decode(image, metas(image)).isfinite().all()
