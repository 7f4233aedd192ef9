"""CoDe trains, validates, saves and resumes inside MMEngine, and is used by mmseg's API."""

import math

import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from tiny_configs import load, shrink
from tiny_model import LOSSES, tiny_code

from code_mm.weights import read_checkpoint

ITERS, HALF = 6, 3


def assert_losses(recorder):
    for values in recorder.losses.values():
        terms = {name.removeprefix('loss_'): v for name, v in values.items() if name != 'loss'}
        assert set(terms) == {*LOSSES}
        assert all(map(math.isfinite, terms.values()))
        assert values['loss'] == pytest.approx(sum(terms.values()), rel=1e-5)


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_run_and_its_resumption(world, tmp_path, num_workers):
    keys = dict(
        iters=ITERS,
        train_dataloader__num_workers=num_workers,
        train_cfg__val_interval=HALF,
        default_hooks__checkpoint__interval=HALF,
        default_hooks__checkpoint__save_best='mIoU',  # a numpy scalar
        optim_wrapper__optimizer__lr=1e-3,
        custom_hooks__0__stages__1__begin=4,
    )
    whole, recorded = world.train(world.config(**keys), tmp_path / 'whole')
    assert sorted(recorded.losses) == list(range(1, ITERS + 1))
    assert_losses(recorded)
    # validation looks for the classes of its data set
    assert len(recorded.metrics) == ITERS // HALF
    assert all(0 <= metrics['mIoU'] <= 100 for metrics in recorded.metrics)
    classes = whole.val_dataloader.dataset.metainfo['classes']
    assert len(classes) == 150
    assert list(whole.model.class_names) == list(classes)
    # only what should learn has moved, and no class embedding is stored
    files = [tmp_path / 'whole' / f'iter_{i}.pth' for i in (HALF, ITERS)]
    first, last = (read_checkpoint(file)['state_dict'] for file in files)
    assert not any('class_embeddings' in name for name in last)
    moved = {name for name, value in last.items() if not torch.equal(value, first[name])}
    names = [name for name, _ in whole.model.named_parameters()]
    assert moved == {name for name in names if not name.startswith('backbone.')}
    # stage 2 begins at iteration 4: until then the block is CLIP's
    block = 'image_segmenter.tail.block.mlp.c_fc.weight'
    clip = 'backbone.visual.transformer.resblocks.2.mlp.c_fc.weight'
    assert torch.equal(first[block], first[clip])

    cfg = world.config(**keys)
    cfg.resume, cfg.load_from = True, str(files[0])
    resumed, recorder = world.train(cfg, tmp_path / 'resumed')
    assert recorder.losses == {i: recorded.losses[i] for i in range(HALF + 1, ITERS + 1)}
    assert recorder.metrics == recorded.metrics[1:]
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_few_iterations_on_real_photos(world, photo_folder, tmp_path, monkeypatch):
    """Captions and photos as img2dataset writes them."""
    monkeypatch.setenv('CODE_MM_PHOTO_SHARDS', str(photo_folder))
    cfg = shrink(load('projects/shapes_world/configs/code_photo-shards.py'), world.clip)
    assert cfg.train_dataloader.dataset.data_root == str(photo_folder)
    cfg.train_cfg.max_iters = 12
    cfg.train_dataloader.update(batch_size=4, num_workers=2, persistent_workers=True)
    runner, recorder = world.train(cfg, tmp_path)
    assert len(recorder.losses) == 12
    assert_losses(recorder)
    dataset = runner.train_dataloader.dataset
    assert 0 < dataset.ledger.num_used <= len(dataset)


def test_mmsegs_inference_api(world, tmp_path):
    """``init_model`` and ``inference_model`` as for any other model of MMSegmentation."""
    cfg = shrink(load('code_cc12m.py'), world.clip)
    trained = tiny_code(seed=3, decode_head=cfg.model.decode_head)
    meta = dict(dataset_meta=dict(dataset_type='image_caption'))
    torch.save(dict(state_dict=trained.state_dict(), meta=meta), tmp_path / 'code.pth')
    model = init_model(cfg, str(tmp_path / 'code.pth'), device='cpu')
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    with pytest.raises(RuntimeError, match=r'or call model.set_class_names\(\[...\]\)'):
        inference_model(model, picture)
    model.set_class_names(['star', 'boat'])
    result = inference_model(model, picture)
    assert result.pred_sem_seg.data.shape == (1, 40, 60)
