"""Training on real photos with captions, as img2dataset writes them."""

import math
import os
from pathlib import Path

import pytest
from tiny_configs import load, shrink

KEY = 'CODE_MM_PHOTO_SHARDS'
DEFAULT = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data' / 'photo_shards'


@pytest.fixture
def photos(monkeypatch):
    folder = Path(os.environ.get(KEY, DEFAULT)).resolve()
    if not list(folder.glob('*.tar')):
        pytest.skip(f'no photo shards in {folder}; name their folder in {KEY}')
    monkeypatch.setenv(KEY, str(folder))
    return folder


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_few_iterations_on_real_photos(world, photos, tmp_path, num_workers):
    cfg = shrink(load('projects/shapes_world/configs/code_photo-shards.py'), world.clip)
    assert cfg.train_dataloader.dataset.data_root == str(photos)
    cfg.merge_from_dict(
        {
            'train_cfg.max_iters': 12,
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': num_workers,
            'train_dataloader.persistent_workers': num_workers > 0,
        }
    )
    runner, recorder = world.train(cfg, tmp_path)
    assert len(recorder.losses) == 12
    for values in recorder.losses.values():
        assert all(map(math.isfinite, values.values()))
    dataset = runner.train_dataloader.dataset
    assert 0 < dataset.num_used <= len(dataset)
    if photos == DEFAULT.resolve():  # 41 photos, of which 48 are asked for
        assert dataset.skipped['few_nouns'] > 0
        assert dataset.skipped['empty_caption'] == 1
