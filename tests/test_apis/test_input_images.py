import logging
import os
from itertools import count

import numpy as np
import pytest
from mmengine.config import ConfigDict

from code_mm.apis.input_images import ImagePipeline, InputImage, UnreadableImage, list_images

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (6, 5, 3), np.uint8)
WIDE = RNG.integers(0, 256, (24, 36, 3), np.uint8)
STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 12), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


@pytest.fixture(scope='module')
def read():
    return ImagePipeline(ConfigDict(test_pipeline=STEPS)).read


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
    images = list_images(['x/a.jpg', 'b.jpg', IMAGE, 'y/b.png', 'z/b.png', 'y/../b.jpg'])
    names = ['a', 'b_jpg', '00000002', 'b_png', 'z/b_png', 'b_jpg']  # the last is the second
    assert [image.name for image in images] == names
    assert images[0].shown == 'x/a.jpg' and images[2].shown == 'array 00000002'


def test_mistakes_in_lists():
    with pytest.raises(ValueError, match='empty list'):
        list_images([])
    for inputs, kind in ((3, 'int'), (['a.jpg', None], 'NoneType')):
        with pytest.raises(TypeError, match=f'but got {kind}'):
            list_images(inputs)


def test_arrays_of_every_kind(read):
    np.testing.assert_array_equal(read(IMAGE), IMAGE)
    grey = IMAGE[..., 0]
    for array in (grey, grey[..., None]):
        np.testing.assert_array_equal(read(array), np.stack([grey] * 3, axis=-1))
    alpha = np.concatenate([IMAGE, IMAGE[..., :1]], axis=-1)
    np.testing.assert_array_equal(read(alpha), IMAGE)
    np.testing.assert_array_equal(read(IMAGE.astype(np.uint16) * 257), IMAGE)
    floating = IMAGE.astype(np.float64) - 30.5  # denormalised ones may leave 0 .. 255
    assert read(floating).dtype == np.float32
    np.testing.assert_allclose(read(floating), floating)


@pytest.mark.parametrize(
    'array, message',
    [
        (np.zeros((4, 4, 2), np.uint8), r'shape \(4, 4, 2\)'),
        (np.zeros((0, 4, 3), np.uint8), r'shape \(0, 4, 3\)'),
        (np.zeros((4, 4, 3), np.int64), 'floats, but got int64'),
        (np.full((4, 4, 3), np.nan), 'NaN'),
        (IMAGE / 255, 'multiply by 255'),
    ],
)
def test_arrays_that_are_no_images(read, array, message):
    with pytest.raises(UnreadableImage, match=message):
        read(array)


def test_files_that_cannot_be_read(read, photos, tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    for path, message in {
        photos / 'nowhere.jpg': 'No such file',
        photos: 'expected a file; hand a folder over alone',
        'https://a.b/c.jpg': "got the URL 'https://a.b/c.jpg'",
        'a://b://c.jpg': 'got the URL',
        'a\0.jpg': 'null',
        '\ud800.jpg': 'surrogates',
        tmp_path / 'pipe.png': 'expected a file',
        '/dev/zero': 'expected a file',
    }.items():
        with pytest.raises(UnreadableImage, match=message):
            read(path)


@pytest.mark.parametrize('width, side', [(6000, None), (20000, 32)])
def test_a_line_of_pixels_is_named_and_the_next_image_read(width, side):
    pipeline, failed = ImagePipeline(ConfigDict(test_pipeline=STEPS), side), {}
    images = list_images([np.zeros((1, width, 3), np.uint8), WIDE])
    ((item,),) = pipeline.batches(images, 1, 'skip', failed)
    assert item['input'].name == '00000001'
    message = f'{width} x 1 pixels cannot be resized for the network; crop it'
    assert failed == {'array 00000000': message}


@pytest.mark.parametrize(
    'cfg', [dict(test_pipeline=STEPS), dict(test_dataloader=dict(dataset=dict(pipeline=STEPS)))]
)
def test_the_configs_pipeline_without_annotations(cfg):
    for side, shape in ((None, (12, 18)), (6, (6, 9))):
        batches = ImagePipeline(ConfigDict(cfg), side).batches(list_images(WIDE), 1, 'raise', {})
        ((packed,),) = batches
        assert packed['inputs'].shape == (3, *shape)
        assert packed['data_samples'].ori_shape == (24, 36)
        assert packed['data_samples'].img_shape == shape


@pytest.mark.parametrize(
    'cfg, side, message',
    [
        (dict(), None, 'expected a test_pipeline in the config, but got none'),
        (dict(test_pipeline=STEPS[1:]), None, r"begins with LoadImageFromFile, but got \['Resize'"),
        (dict(test_pipeline=STEPS), 0, 'shorter_side >= 1 pixel, but got 0'),
    ],
)
def test_configs_without_a_pipeline(cfg, side, message):
    with pytest.raises(ValueError, match=message):
        ImagePipeline(ConfigDict(cfg), side)


def test_batches_hold_neighbours_of_one_size(photos):
    pipeline, failed = ImagePipeline(ConfigDict(test_pipeline=STEPS)), {}
    batches = list(pipeline.batches(list_images(photos), 2, 'skip', failed))
    names = [[item['input'].name for item in batch] for batch in batches]
    assert names == [['a', 'b'], ['c'], ['d']]
    assert [path.rsplit('/')[-1] for path in failed] == ['half.jpg', 'text.jpg']
    assert batches[2][0]['image'].shape == (9, 5, 3)
    sizes = [len(b) for b in pipeline.batches(list_images([WIDE] * 5), 2, 'raise', {})]
    assert sizes == [2, 2, 1]


def test_images_are_read_when_their_turn_comes():
    pipeline, numbers = ImagePipeline(ConfigDict(test_pipeline=STEPS)), count()
    endless = (InputImage(str(number), WIDE) for number in numbers)
    next(pipeline.batches(endless, 3, 'raise', {}))
    assert next(numbers) == 4
