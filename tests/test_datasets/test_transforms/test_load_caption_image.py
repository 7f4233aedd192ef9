import os
import re
import warnings

import cv2
import numpy as np
import pytest
from hostile_shards import encoded, jpeg_claiming, png_claiming
from PIL import Image

from code_mm.datasets.transforms import LoadCaptionImage
from code_mm.structures.unusable_sample import UnusableSample

COLOUR = (200, 100, 50)  # red, green, blue
GREY = (0.299 * 200 + 0.587 * 100 + 0.114 * 50,) * 3


def picture(size=(32, 24)):
    return Image.new('RGB', size, COLOUR)


def load(data, **kwargs):
    return LoadCaptionImage(**kwargs)(dict(img_bytes=data))


def test_all_kinds_end_as_three_8_bit_channels():
    kinds = 'RGB JPEG, RGB WEBP, L PNG, LA PNG, RGBA PNG, P PNG, CMYK JPEG'
    files = {k: encoded(picture().convert(k.split()[0]), k.split()[1]) for k in kinds.split(', ')}
    sixteen = np.full((24, 32, 3), 0x8000, np.uint16)
    files['16 bit'] = cv2.imencode('.png', sixteen)[1].tobytes()
    for kind, data in files.items():
        results = load(data)
        image = results['img']
        assert (image.shape, image.dtype) == ((24, 32, 3), np.uint8)
        expected = GREY if kind[0] == 'L' else (128,) * 3 if kind == '16 bit' else COLOUR[::-1]
        assert np.abs(image.reshape(-1, 3).mean(0) - expected).max() < 3, kind
        assert results['img_shape'] == results['ori_shape'] == (24, 32)
        assert 'img_bytes' not in results


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert load(encoded(picture(), 'JPEG', exif=exif))['img_shape'] == (32, 24)


jpeg = encoded(picture((200, 200)), 'JPEG')
png = encoded(Image.effect_noise((200, 200), 50), 'PNG')


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'<html><body>404 Not Found</body></html>',
        jpeg[: len(jpeg) // 2],
        jpeg[:-2],
        png[: len(png) // 2],
        b'\xff\xd8' + b'junk' * 30 + b'\xff\xd9',
        b'DDS |' + bytes(7) + 2 * b'\x08\0\0\0' + b'\xff' * 150,
        png[:33] + b'\x7f\xff\xff\xffIDAT' + bytes(100),  # 2 GB, it says
        encoded(picture(), 'AVIF').replace(b'infe', b'xnfe'),
    ],
)
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_broken_images(data, backend):
    with pytest.raises(UnusableSample, match='broken_image'):
        load(data, imdecode_backend=backend)
    # a wrong backend is no fault of the images
    with pytest.raises(ValueError, match=r"imdecode_backend='cv' decodes no JPEG.*'cv2'"):
        LoadCaptionImage(imdecode_backend='cv')


@pytest.mark.parametrize(
    ('data', 'detail'),
    [
        (png_claiming(60_000, 60_000), '3600000000 pixels'),
        (jpeg_claiming(30_000, 30_000), '900000000 pixels'),
        (png_claiming(9_000, 9_000), '9000x9000 pixels, max_pixels=67108864'),
    ],
)
def test_claims_of_many_pixels_are_refused_before_decoding(monkeypatch, data, detail):
    transform = LoadCaptionImage()
    monkeypatch.delattr('mmcv.imfrombytes')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(UnusableSample, match=f'large_image .*{detail}'):
            transform(dict(img_bytes=data))


def test_the_limits_are_keys(monkeypatch):
    data = encoded(picture((40, 30)), 'PNG')
    assert load(data, max_pixels=1200, min_size=30)['img_shape'] == (30, 40)
    for key, value, problem in (
        ('max_pixels', 1199, 'large_image (40x30 pixels, max_pixels=1199)'),
        ('min_size', 31, 'small_image (40x30 pixels'),
    ):
        with pytest.raises(UnusableSample, match=re.escape(problem)):
            load(data, **{key: value})
    monkeypatch.delattr('PIL.Image.open')  # None: the header is not looked at
    assert load(data, max_pixels=None)['img_shape'] == (30, 40)


def test_files(tmp_path):
    picture().save(tmp_path / 'a.png')
    results = LoadCaptionImage()(dict(img_path=str(tmp_path / 'a.png')))
    assert results['img'][0, 0].tolist() == list(COLOUR[::-1])
    os.mkfifo(tmp_path / 'fifo')
    names = ['absent.png', '', 'fifo', '/dev/zero', 'a\0b', 'a\ud800', 'a://b://c', 'file://a.png']
    for name in [*(str(tmp_path / name) for name in names), 'http://127.0.0.1/a', 's3://b/a']:
        with pytest.raises(UnusableSample, match='missing_image'):
            LoadCaptionImage()(dict(img_path=name))
    with pytest.raises(UnusableSample, match=r"'data/https://h/a' is a URL; download it"):
        LoadCaptionImage()(dict(img_path='data/https://h/a'))
    with pytest.raises(KeyError, match='expected img_bytes or img_path'):
        LoadCaptionImage()(dict(caption='a dog'))
