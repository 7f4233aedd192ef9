"""A tiny CoDe model with its config and checkpoint as files, and images of several kinds."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_model import code_config, tiny_code

from code_mm.apis import CoDeInferencer

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def write_model(folder, **keys):
    """Config and checkpoint of a tiny model with random weights."""
    config = code_config(
        data_preprocessor=dict(type='SegDataPreProcessor', mean=MEAN, std=STD, bgr_to_rgb=True),
        **keys,
    )
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(2048, 32), keep_ratio=True),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ]
    Config(dict(default_scope='mmseg', model=config, test_pipeline=pipeline)).dump(
        folder / 'tiny.py'
    )
    # as a training run on captions writes it
    meta = dict(dataset_meta=dict(dataset_type='image_caption'))
    state = tiny_code(**keys).state_dict()
    torch.save(dict(meta=meta, state_dict=state), folder / 'tiny.pth')
    return folder / 'tiny.py', folder / 'tiny.pth'


@pytest.fixture(scope='session')
def model_files(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='session')
def inferencer(model_files):
    """Without classes of its own and without background in its config."""
    return CoDeInferencer(*model_files, device='cpu', show_progress=False)


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """Four readable images, a text called .jpg, the first half of a jpg, and a text file."""
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)
    for name, shape in (('a', (48, 64, 3)), ('b', (48, 64, 3)), ('c', (40, 32, 3)), ('d', (9, 5))):
        cv2.imwrite(str(folder / f'{name}.png'), rng.integers(0, 256, shape, np.uint8))
    jpeg = cv2.imencode('.jpg', rng.integers(0, 256, (48, 64, 3), np.uint8))[1].tobytes()
    (folder / 'half.jpg').write_bytes(jpeg[: len(jpeg) // 2])
    (folder / 'text.jpg').write_text('no image')
    (folder / 'notes.txt').write_text('left out')
    for name in ('.DS_Store', 'Thumbs.db', '._a.png'):  # of the operating system
        (folder / name).write_text('not even mentioned')
    return folder
