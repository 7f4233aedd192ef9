"""A miniature ADE20K folder and a tiny MMSegmentation config, enough for a whole run in seconds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
# what stands beside the tools is imported from there
sys.path += [str(ROOT / 'tools' / folder) for folder in ('', 'analysis', 'dataset_converters')]
CONFIG = """
_base_ = {base!r}
data_root = {data!r}
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='ADE20KDataset', data_root=data_root, pipeline=pipeline, data_prefix=dict(
        img_path='images/training', seg_map_path='annotations/training')))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ADE20KDataset', data_root=data_root, pipeline=pipeline, data_prefix=dict(
        img_path='images/validation', seg_map_path='annotations/validation')))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[0., 0., 0.], std=[255., 255., 255.], bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255, size_divisor=8),
    backbone=dict(
        type='ResNetV1c', depth=18, stem_channels=8, base_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, concat_input=False,
        num_classes=150, norm_cfg=norm_cfg, loss_decode=dict(type='CrossEntropyLoss')),
    test_cfg=dict(mode='whole'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    visualization=dict(type='SegVisualizationHook'))
"""


def write_ade20k(folder: Path) -> None:
    """Four training and three validation images of 32 pixels; classes 1 to 3, 0 unlabelled."""
    rng = np.random.default_rng(0)
    for split, count in (('training', 4), ('validation', 3)):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True)
        for index in range(count):
            labels = np.kron(rng.integers(0, 4, (2, 2)), np.ones((16, 16))).astype(np.uint8)
            image = (labels[..., None] * 60 + rng.integers(0, 40, (32, 32, 3))).astype(np.uint8)
            Image.fromarray(image).save(folder / 'images' / split / f'{index}.jpg')
            Image.fromarray(labels).save(folder / 'annotations' / split / f'{index}.png')


def run_command(*command, cwd: Path, **variables) -> str:
    """Runs a command to its end; its whole output, which is shown if it fails."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **variables}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


@pytest.fixture(scope='module')
def workplace(tmp_path_factory) -> Path:
    """Folder with ade20k/ and tiny.py; the current folder of every command."""
    folder = tmp_path_factory.mktemp('tools')
    write_ade20k(folder / 'ade20k')
    base = str(ROOT / 'configs' / '_base_' / 'default_runtime.py')
    text = CONFIG.format(base=base, data=str(folder / 'ade20k'))
    (folder / 'tiny.py').write_text(text)
    return folder


@pytest.fixture(scope='module')
def run(workplace):
    """``run('tools/train.py', ...)``: a script of the checkout (or a path), in the workplace."""

    def run_script(script: str, *args, **variables) -> str:
        path = ROOT / script
        first = [sys.executable, path] if path.suffix == '.py' else [path]
        return run_command(*first, *args, cwd=workplace, **variables)

    return run_script
