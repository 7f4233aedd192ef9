import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from code_mm.apis.input_images import ImageReader, UnreadableImage, is_single, list_images

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 5, 3), np.uint8)
READ = ImageReader()


def test_a_folder_is_listed_in_order_and_the_rest_is_said(photos, monkeypatch):
    said = []
    monkeypatch.setattr(
        'code_mm.apis.input_images.print_log', lambda text, **keys: said.append((text, keys))
    )
    names = [image.name for image in list_images(str(photos))]
    assert names == ['a', 'b', 'c', 'd', 'half', 'text']
    ((text, keys),) = said
    assert "1 files without the suffix of an image are left out: ['notes.txt']" in text
    assert keys['level'] == logging.WARNING


def test_names_are_stems_and_never_the_same():
    images = list_images(['x/a.jpg', 'b.jpg', IMAGE, 'y/b.png', 'z/b.png'])
    assert [i.name for i in images] == ['a', 'b.jpg', '00000002', 'b.png', '00000004_b.png']
    assert images[0].shown == 'x/a.jpg' and images[2].shown == 'array 00000002'


def test_single_or_several(photos):
    assert is_single('a.jpg') and is_single(IMAGE) and is_single(photos / 'a.png')
    assert not is_single(photos) and not is_single(['a.jpg']) and not is_single(str(photos))


@pytest.mark.parametrize(
    'inputs, error, message',
    [
        ([], ValueError, 'empty list'),
        (3, TypeError, 'but got int'),
        (['a.jpg', None], TypeError, 'but got NoneType'),
        ('https://a.b/c.jpg', ValueError, "got the URL 'https://a.b/c.jpg'"),
    ],
)
def test_mistakes_in_lists(inputs, error, message):
    with pytest.raises(error, match=message):
        list_images(inputs)


def test_a_folder_without_images(tmp_path):
    (tmp_path / 'a.txt').write_text('a')
    with pytest.raises(ValueError, match=r'it has none \(1 other files\)'):
        list_images(tmp_path)


def test_arrays_of_every_kind():
    np.testing.assert_array_equal(READ(IMAGE), IMAGE)
    grey = IMAGE[..., 0]
    for array in (grey, grey[..., None]):
        np.testing.assert_array_equal(READ(array), np.stack([grey] * 3, axis=-1))
    alpha = np.concatenate([IMAGE, IMAGE[..., :1]], axis=-1)
    np.testing.assert_array_equal(READ(alpha), IMAGE)
    np.testing.assert_array_equal(READ(IMAGE.astype(np.uint16) * 257), IMAGE)
    floating = IMAGE.astype(np.float64) - 30.5  # denormalised ones may leave 0 .. 255
    assert READ(floating).dtype == np.float32
    np.testing.assert_allclose(READ(floating), floating)


@pytest.mark.parametrize(
    'array, message',
    [
        (np.zeros((4, 4, 2), np.uint8), r'shape \(4, 4, 2\)'),
        (np.zeros((0, 4, 3), np.uint8), r'shape \(0, 4, 3\)'),
        (np.zeros((4, 4, 3), np.int64), 'floating point, but got int64'),
        (np.full((4, 4, 3), np.nan), 'NaN'),
        (IMAGE / 255, 'multiply by 255'),
    ],
)
def test_arrays_that_are_no_images(array, message):
    with pytest.raises(UnreadableImage, match=message):
        READ(array)


def test_grey_alpha_and_16_bit_files(tmp_path):
    grey, alpha, deep = (
        IMAGE[..., 0],
        np.dstack([IMAGE, 255 - IMAGE[..., :1]]),
        IMAGE * np.uint16(257),
    )
    for name, array in (('grey', grey), ('alpha', alpha), ('deep', deep)):
        cv2.imwrite(str(tmp_path / f'{name}.png'), array)
    np.testing.assert_array_equal(READ(tmp_path / 'grey.png'), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(READ(tmp_path / 'alpha.png'), IMAGE)
    np.testing.assert_array_equal(READ(str(tmp_path / 'deep.png')), IMAGE)


def test_the_exif_orientation_is_applied(tmp_path):
    """6: the camera was turned; viewers rotate the stored picture clockwise."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / 'a.jpg', exif=exif, quality=95)
    read = READ(tmp_path / 'a.jpg')
    assert read.shape == (32, 16, 3)
    assert read[:12].min() > 200 and read[20:].max() < 50


def test_of_an_animation_the_first_picture(tmp_path):
    frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(READ(tmp_path / 'a.gif')[0, 0], [0, 0, 255])


@pytest.mark.parametrize(
    'name, reason',
    [
        ('half.jpg', 'end of the JPEG is missing'),
        ('text.jpg', '8 bytes that are no image'),
        ('nowhere.jpg', 'missing_image'),
        ('.', 'hand a folder over alone'),
    ],
)
def test_files_that_cannot_be_read(photos, name, reason):
    with pytest.raises(UnreadableImage, match=reason):
        READ(photos / name)
