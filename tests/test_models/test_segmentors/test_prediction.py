"""Settings, memory and labels of prediction; scores and labels against mmseg's own inference."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from tiny_model import images, metas, tiny_code

from code_mm.models.segmentors.prediction import PredictionSettings, restore, winning_class

NAMES = ['car|automobile', 'star', 'boat', 'fish']
SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
PAMR = dict(type='PAMR', num_iter=2, dilations=(1, 2), chunk=2)


def code(everything=True, **test_cfg):
    """A tiny CoDe segmentor that knows its classes; with PAMR, the mix and a background."""
    head, keys = dict(type='ZeroShotHead'), {}
    if everything:
        head.update(post_processor=PAMR, knowledge_preserving=dict(weight=0.3, templates=['a {}']))
        keys = dict(background_threshold=0.4)
    model = tiny_code(decode_head=head, test_cfg={**SLIDE, **test_cfg}, **keys).eval()
    model.set_class_names(['background', *NAMES] if everything else NAMES)
    return model


def samples(image, ori_shape=None, **meta):
    shape = tuple(image.shape[2:])
    meta = dict(img_shape=shape, ori_shape=ori_shape or shape, **meta)
    return [SegDataSample(metainfo=meta) for _ in image]


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(mode='slied'), "mode to be 'whole' or 'slide', got 'slied'"),
        (dict(window_batch_sise=4), "got 'window_batch_sise'; did you mean 'window_batch_size'"),
        (dict(window_batch_size=2.0), 'window_batch_size to be an integer >= 1, got 2.0'),
        (dict(class_chunk=0), 'class_chunk to be an integer >= 1, got 0'),
        (dict(keep_scores='no'), "keep_scores to be True or False, got 'no'"),
        (dict(crop_size=None), r'crop_size = \(height, width\) .*, but got None'),
        (dict(stride=(16, 33)), r'stride <= crop_size, but got \(16, 33\) and \(32, 32\): pixels'),
    ],
)
def test_mistakes_in_test_cfg_are_named_when_the_model_is_built(changed, message):
    with pytest.raises(ValueError, match=message):
        tiny_code(test_cfg={**SLIDE, **changed})


def test_the_segmentor_looks_at_what_test_cfg_says_now():
    model = tiny_code(test_cfg=None)
    assert model.prediction_settings == PredictionSettings()
    model.test_cfg.update(ConfigDict(SLIDE))
    assert model.prediction_settings == PredictionSettings(**SLIDE)
    model.test_cfg.mode = 'whole'  # may inherit the keys of windows
    assert model.prediction_settings.mode == 'whole'
    model.test_cfg.update(mode='slide', stride=(64, 64))
    with pytest.raises(ValueError, match='stride <= crop_size'):
        model.prediction_settings  # noqa: B018


@torch.no_grad()
@pytest.mark.parametrize('everything', [False, True])
@pytest.mark.parametrize('size', [(20, 25), (41, 67)])
def test_batched_windows_give_mmsegs_scores(everything, size):
    model, image = code(everything), images(2, *size)
    expected = EncoderDecoder.slide_inference(model, image, metas(image))
    for count in (1, 3, 64):
        model.test_cfg.window_batch_size = count
        scores = model.inference(image, metas(image))
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_windows_go_through_the_network_in_batches(monkeypatch):
    model, seen = code(window_batch_size=3), []
    network = model.extract_feat
    monkeypatch.setattr(model, 'extract_feat', lambda x: (seen.append(len(x)), network(x))[1])
    model.predict(images(2, 32, 64))  # 2 images of 3 windows
    model.predict(images(1, 64, 64))
    assert seen == [3, 3, 3, 3, 3]


META = [
    dict(),
    dict(padding_size=[0, 0, 0, 9], img_padding_size=[1, 2, 3, 4]),
    dict(flip=True, flip_direction='horizontal'),
    dict(flip=True, flip_direction='vertical', padding_size=[0, 5, 0, 6]),
]


@torch.no_grad()
@pytest.mark.parametrize('meta', META)
@pytest.mark.parametrize('ori_shape', ['input', (57, 93)])
@pytest.mark.parametrize('mode', ['slide', 'whole'])
def test_labels_without_scores_are_mmsegs(meta, ori_shape, mode):
    model = code(mode=mode, keep_scores=False, class_chunk=2, window_batch_size=2)
    image = images(2, 40, 56)
    if ori_shape == 'input':  # what is left of it: labels come row by row
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        ori_shape = (40 - top - bottom, 56 - left - right)
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
def test_scores_of_the_whole_image_never_exist(monkeypatch):
    """Labels that need no resizing come row by row, from windows alone."""
    model, sizes, full = code(False, keep_scores=False), [], torch.Tensor.argmax
    model.set_class_names([f'class {i}' for i in range(40)])

    def argmax(scores, *args, **kwargs):
        sizes.append(scores.untyped_storage().nbytes())
        return full(scores, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'argmax', argmax)
    image = images(1, 320, 32)
    (result,) = model.predict(image, samples(image))
    assert result.pred_sem_seg.shape == (320, 32)
    assert sizes and max(sizes) <= 4 * 40 * 32 * 32


@torch.no_grad()
@pytest.mark.parametrize('mode', ['slide', 'whole'])
def test_scores_are_kept_by_default_beside_the_truth(mode):
    """On a CPU ``scores_on_cpu`` has nothing to move; results must not change."""
    model, image = code(mode=mode), images(1, 40, 56)
    sample = samples(image)[0]
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 40, 56, dtype=torch.int64))
    (result,) = model.predict(image, [sample])
    scores = result.seg_logits.data
    assert result is sample and torch.equal(result.pred_sem_seg.data[0], scores.argmax(0))
    assert result.gt_sem_seg.data.sum() == 0
    model.test_cfg.scores_on_cpu = True
    assert torch.equal(model.inference(image, metas(image))[0], scores)


def random_scores(classes, *size, levels=None):
    """Random scores [classes, h, w]; with few levels, full of ties."""
    values = torch.rand(classes, *size, generator=torch.Generator().manual_seed(classes))
    return values if levels is None else (values * levels).floor()


@pytest.mark.parametrize('chunk', [1, 3, 50])
@pytest.mark.parametrize('align_corners', [False, True])
def test_chunks_of_classes_give_the_arg_max_of_all(chunk, align_corners):
    x = random_scores(7, 9, 14)
    for size in ((31, 17), (5, 6)):
        whole = F.interpolate(x[None], size, mode='bilinear', align_corners=align_corners)[0]
        label = winning_class(x, size, chunk, align_corners)
        assert label.dtype == torch.int64
        assert torch.equal(label, whole.argmax(dim=0, keepdim=True))
    ties = random_scores(5, 12, 12, levels=2)
    for y in range(12):
        for column in range(12):
            values = ties[:, y, column].tolist()  # the lowest of tied classes wins
            label = winning_class(ties, (12, 12), chunk)[0, y, column]
            assert label == values.index(max(values))
    for first in (0, 2, 4):  # NaN wins, as in argmax
        x = random_scores(5, 4, 4)
        x[first, 1, 2] = x[4, 1, 2] = float('nan')
        assert torch.equal(winning_class(x, (4, 4), chunk), x.argmax(0, keepdim=True))


def test_another_flip_is_refused():
    with pytest.raises(ValueError, match="'horizontal' or 'vertical', but got 'diagonal'"):
        restore(random_scores(2, 4, 4), dict(flip=True, flip_direction='diagonal'))
