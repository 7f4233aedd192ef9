"""Training on real photos with captions, as img2dataset writes them."""

import math

from tiny_configs import load, shrink


def test_a_few_iterations_on_real_photos(world, photo_folder, tmp_path, monkeypatch):
    monkeypatch.setenv('CODE_MM_PHOTO_SHARDS', str(photo_folder))
    cfg = shrink(load('projects/shapes_world/configs/code_photo-shards.py'), world.clip)
    assert cfg.train_dataloader.dataset.data_root == str(photo_folder)
    cfg.train_cfg.max_iters = 12
    cfg.train_dataloader.update(batch_size=4, num_workers=2, persistent_workers=True)
    runner, recorder = world.train(cfg, tmp_path)
    assert len(recorder.losses) == 12
    for values in recorder.losses.values():
        assert all(map(math.isfinite, values.values()))
    dataset = runner.train_dataloader.dataset
    assert 0 < dataset.ledger.num_used <= len(dataset)
