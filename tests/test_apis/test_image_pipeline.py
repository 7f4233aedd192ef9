import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from code_mm.apis.image_pipeline import ImagePipeline
from code_mm.apis.input_images import InputImage, UnreadableImage, list_images

STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 12), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(test_pipeline=STEPS),
        dict(test_dataloader=dict(dataset=dict(pipeline=STEPS))),
        dict(test_dataloader=None, val_dataloader=dict(dataset=dict(pipeline=STEPS))),
    ],
)
def test_the_configs_pipeline_without_annotations(cfg):
    cfg = ConfigDict(cfg)
    packed = ImagePipeline(cfg)(IMAGE)
    assert packed['inputs'].shape == (3, 12, 18)
    assert packed['data_samples'].ori_shape == (24, 36)
    assert packed['data_samples'].img_shape == (12, 18)
    assert ImagePipeline(cfg, shorter_side=6)(IMAGE)['inputs'].shape == (3, 6, 9)


def test_without_resizing_pixels_arrive_as_they_are():
    cfg = ConfigDict(test_pipeline=[dict(type='LoadImageFromNDArray'), STEPS[3]])
    floats = IMAGE.astype(np.float32) - 7.25
    packed = ImagePipeline(cfg)(floats)
    assert torch.equal(packed['inputs'], torch.from_numpy(floats).permute(2, 0, 1))


@pytest.mark.parametrize(
    'cfg, side, message',
    [
        (dict(), None, 'expected a test_pipeline in the config, but got none'),
        (dict(test_pipeline=STEPS[1:]), None, r"begins with LoadImageFromFile, but got \['Resize'"),
        (dict(test_pipeline=STEPS), 0, 'shorter_side >= 1 pixel, but got 0'),
    ],
)
def test_mistakes(cfg, side, message):
    with pytest.raises(ValueError, match=message):
        ImagePipeline(ConfigDict(cfg), side)


def test_batches_hold_neighbours_of_one_size(photos):
    pipeline, failed = ImagePipeline(ConfigDict(test_pipeline=STEPS)), {}
    batches = list(pipeline.batches(list_images(photos), 2, 'skip', failed))
    assert [[item['input'].name for item in batch] for batch in batches] == [
        ['a', 'b'],
        ['c'],
        ['d'],
    ]
    assert [path.rsplit('/')[-1] for path in failed] == ['half.jpg', 'text.jpg']
    assert batches[2][0]['image'].shape == (9, 5, 3)
    sizes = [len(b) for b in pipeline.batches(list_images([IMAGE] * 5), 2, 'raise', {})]
    assert sizes == [2, 2, 1]


def test_images_are_read_when_their_turn_comes():
    pipeline, read = ImagePipeline(ConfigDict(test_pipeline=STEPS)), []

    def endless():
        while True:
            read.append(1)
            yield InputImage(str(len(read)), IMAGE)

    next(pipeline.batches(endless(), 3, 'raise', {}))
    assert len(read) == 4


def test_unreadable_images_are_raised_by_name(photos):
    pipeline = ImagePipeline(ConfigDict(test_pipeline=STEPS))
    with pytest.raises(UnreadableImage, match=r'text\.jpg: broken_image'):
        list(pipeline.batches(list_images([photos / 'text.jpg']), 1, 'raise', {}))
