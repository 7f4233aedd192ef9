import math

import mmcv
import numpy as np
import pytest

from code_mm.datasets.transforms import RandomResizedCrop

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)


def test_rectangles_have_the_drawn_area_and_shape():
    crop = RandomResizedCrop(8, scale=(0.2, 0.6), ratio=(0.5, 2))
    np.random.seed(0)
    found = np.array([crop.rectangle(300, 300) for _ in range(2000)])
    top, left, h, w = found.T
    assert (found >= 0).all() and (top + h <= 300).all() and (left + w <= 300).all()
    areas, logs = h * w / 90000, np.log(w / h)
    assert np.allclose([areas.min(), areas.max()], [0.2, 0.6], atol=0.02)
    assert np.allclose([logs.min(), logs.max()], [-math.log(2), math.log(2)], atol=0.02)
    # uniform draws (large rectangles of extreme shape do not fit and are drawn again)
    assert abs(logs.mean()) < 0.03
    for place in (top / (300 - h + 1e-9), left / (300 - w + 1e-9)):
        assert abs(place.mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((10, 100), (0, 43, 10, 13)),  # (height, width): too wide for any draw
        ((100, 10), (43, 0, 13, 10)),
        ((1, 1), (0, 0, 1, 1)),
    ],
)
def test_central_rectangle_where_no_draw_fits(size, expected):
    assert RandomResizedCrop(8, scale=(1, 1)).rectangle(*size) == expected


def test_pixels_come_from_the_rectangle():
    crop = RandomResizedCrop((20, 10), scale=(0.3, 0.5))
    np.random.seed(3)
    top, left, h, w = crop.rectangle(40, 30)
    np.random.seed(3)
    out = crop(dict(img=IMAGE, gt_seg_map=IMAGE[..., 0], seg_fields=['gt_seg_map']))
    window = np.ascontiguousarray(IMAGE[top : top + h, left : left + w])
    resized = mmcv.imresize(window, (20, 10), interpolation='bilinear', backend='pillow')
    assert (out['img'] == resized).all() and out['img_shape'] == (10, 20)
    rows, columns = np.arange(10) * h // 10, np.arange(20) * w // 20
    assert (out['gt_seg_map'] == window[rows][:, columns, 0]).all()  # labels are never mixed


def test_mirrored_left_to_right():
    found = []
    for prob in (1e-9, 1.0):
        np.random.seed(0)  # the same rectangle
        sample = dict(img=IMAGE, gt_seg_map=IMAGE[..., 0], seg_fields=['gt_seg_map'])
        found.append(RandomResizedCrop(16, flip_prob=prob)(sample))
    plain, mirrored = found
    assert (plain['flip'], mirrored['flip']) == (False, True)
    assert plain['flip_direction'] is None and mirrored['flip_direction'] == 'horizontal'
    for key in ('img', 'gt_seg_map'):
        assert (mirrored[key] == plain[key][:, ::-1]).all()
    assert 'flip' not in RandomResizedCrop(16)(dict(img=IMAGE))
    crop = RandomResizedCrop(4, flip_prob=0.5)
    share = np.mean([crop(dict(img=IMAGE))['flip'] for _ in range(1000)])
    assert abs(share - 0.5) < 0.05


@pytest.mark.parametrize('kwargs', [dict(flip_prob=2), dict(scale=(0.9, 0.5)), dict(ratio=(2, 1))])
def test_mistakes(kwargs):
    (key,) = kwargs
    with pytest.raises(ValueError, match=f'expected {key} '):
        RandomResizedCrop(8, **kwargs)
