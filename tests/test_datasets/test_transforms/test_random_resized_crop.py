import math

import numpy as np
import pytest

from code_mm.datasets.transforms import RandomResizedCrop


def test_rectangles_have_the_drawn_area_and_shape():
    crop = RandomResizedCrop(8, scale=(0.2, 0.6), ratio=(0.5, 2))
    np.random.seed(0)
    areas, logs, tops, lefts = [], [], [], []
    for _ in range(2000):
        top, left, h, w = crop.rectangle(300, 300)
        assert 0 <= top <= 300 - h
        assert 0 <= left <= 300 - w
        areas.append(h * w / 90000)
        logs.append(math.log(w / h))
        tops.append(top / (300 - h + 1e-9))
        lefts.append(left / (300 - w + 1e-9))
    assert 0.19 < min(areas) < 0.22
    assert 0.58 < max(areas) < 0.61
    assert abs(min(logs) + math.log(2)) < 0.02
    assert abs(max(logs) - math.log(2)) < 0.02
    # uniform draws (large rectangles of extreme shape do not fit and are drawn again)
    assert abs(np.mean(logs)) < 0.03
    assert abs(np.mean(tops) - 0.5) < 0.03
    assert abs(np.mean(lefts) - 0.5) < 0.03


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((10, 100), (0, 43, 10, 13)),  # (height, width): too wide for any draw
        ((100, 10), (43, 0, 13, 10)),
        ((1, 1), (0, 0, 1, 1)),
    ],
)
def test_central_rectangle_where_no_draw_fits(size, expected):
    crop = RandomResizedCrop(8, scale=(1, 1))
    np.random.seed(0)
    assert crop.rectangle(*size) == expected


def test_full_crop_is_a_plain_resize():
    image = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    crop = RandomResizedCrop((12, 6), scale=(1, 1), ratio=(1, 1), interpolation='nearest')
    results = crop(dict(img=image))
    assert results['img_shape'] == (6, 12)
    assert (results['img'] == image.repeat(2, axis=1)).all()


def test_pixels_come_from_the_rectangle():
    image = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    crop = RandomResizedCrop(20, scale=(0.3, 0.5), interpolation='nearest', backend='cv2')
    np.random.seed(3)
    top, left, h, w = crop.rectangle(40, 30)
    np.random.seed(3)
    out = crop(dict(img=image.copy(), gt_seg_map=image[..., 0].copy(), seg_fields=['gt_seg_map']))
    rows = top + np.arange(20) * h // 20
    columns = left + np.arange(20) * w // 20
    assert (out['img'] == image[rows][:, columns]).all()
    assert (out['gt_seg_map'] == image[rows][:, columns, 0]).all()


def test_pillow_smooths_before_it_shrinks():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    kwargs = dict(size=16, scale=(1, 1), ratio=(1, 1), interpolation='bicubic')
    smooth = RandomResizedCrop(**kwargs)(dict(img=stripes))['img']
    assert np.abs(smooth.astype(int) - 127).max() < 12


def test_mirrored_left_to_right():
    image = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    label = image[..., 0]
    found = []
    for prob in (1e-9, 1.0):
        np.random.seed(0)  # the same rectangle
        crop = RandomResizedCrop(16, flip_prob=prob)
        found.append(crop(dict(img=image, gt_seg_map=label, seg_fields=['gt_seg_map'])))
    plain, mirrored = found
    assert (plain['flip'], mirrored['flip']) == (False, True)
    assert plain['flip_direction'] is None and mirrored['flip_direction'] == 'horizontal'
    assert 'flip' not in RandomResizedCrop(16)(dict(img=image))
    for key in ('img', 'gt_seg_map'):
        assert (mirrored[key] == plain[key][:, ::-1]).all()
    crop = RandomResizedCrop(4, flip_prob=0.5)
    share = np.mean([crop(dict(img=image))['flip'] for _ in range(1000)])
    assert abs(share - 0.5) < 0.05


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(size=8, flip_prob=1.5), r'expected flip_prob in \[0, 1\], but got 1.5'),
        (dict(size=0), 'expected size'),
        (dict(size=(1, 2, 3)), 'expected size'),
        (dict(size=8, scale=(0, 1)), r'expected scale .* but got \(0, 1\)'),
        (dict(size=8, scale=(0.9, 1.1)), 'expected scale'),
        (dict(size=8, scale=(0.9, 0.5)), 'expected scale'),
        (dict(size=8, ratio=(2, 1)), 'expected ratio'),
        (dict(size=8, interpolation='cubic'), "'pillow' and 'cubic'"),
        (dict(size=8, interpolation='area'), 'expected backend and interpolation'),
        (dict(size=8, backend='torch'), 'expected backend and interpolation'),
    ],
)
def test_mistakes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RandomResizedCrop(**kwargs)
