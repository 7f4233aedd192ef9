"""CoDe trains, validates, saves and resumes inside MMEngine's Runner."""

import math

import pytest
import torch
from mmengine.runner import checkpoint as mmengine_checkpoint
from tiny_configs import SIDE, load, shrink

ITERS, HALF = 6, 3
LOSSES = {
    *('knowledge_guided', 'region_feature', 'region_image', 'feature_variation'),
    *('mask_variation', 'area', 'negative_area', 'word_segmentation', 'region_word'),
}


def checkpoint(work_dir, iteration):
    path = work_dir / f'iter_{iteration}.pth'
    if not hasattr(mmengine_checkpoint, 'get_torch_safe_globals'):  # OpenMMLab's: unpickles all
        return torch.load(path)
    with torch.serialization.safe_globals(mmengine_checkpoint.get_torch_safe_globals()):
        return torch.load(path, weights_only=True)


def assert_losses(recorder, names):
    for values in recorder.losses.values():
        terms = {name.removeprefix('loss_'): v for name, v in values.items() if name != 'loss'}
        assert set(terms) == names
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
    assert_losses(recorded, LOSSES)
    # validation looks for the classes of its data set
    assert len(recorded.metrics) == ITERS // HALF
    assert all(0 <= metrics['mIoU'] <= 100 for metrics in recorded.metrics)
    classes = whole.val_dataloader.dataset.metainfo['classes']
    assert len(classes) == 150
    assert list(whole.model.class_names) == list(classes)
    # only what should learn has moved, and no class embedding is stored
    first, last = (checkpoint(tmp_path / 'whole', i)['state_dict'] for i in (HALF, ITERS))
    assert not any('class_embeddings' in name for name in last)
    moved = {name for name, value in last.items() if not torch.equal(value, first[name])}
    names = [name for name, _ in whole.model.named_parameters()]
    assert moved == {name for name in names if not name.startswith('backbone.')}
    # stage 2 begins at iteration 4: until then the block is CLIP's
    block = 'image_segmenter.tail.block.mlp.c_fc.weight'
    clip = 'backbone.visual.transformer.resblocks.2.mlp.c_fc.weight'
    assert torch.equal(first[block], first[clip])

    cfg = world.config(**keys)
    cfg.resume, cfg.load_from = True, str(tmp_path / 'whole' / f'iter_{HALF}.pth')
    resumed, recorder = world.train(cfg, tmp_path / 'resumed')
    assert recorder.losses == {i: recorded.losses[i] for i in range(HALF + 1, ITERS + 1)}
    assert recorder.metrics == recorded.metrics[1:]
    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_the_image_segmenter_alone_trains_too_and_on_larger_images(world, tmp_path):
    """Thesis Table 4.2, first row; twice the side that CLIP was trained on."""
    cfg = world.config(
        train_cfg__val_interval=100,
        train_dataloader__dataset__pipeline__3__size=2 * SIDE,
    )
    cfg.model = shrink(load('ablation/segmenter_only.py'), world.clip).model
    cfg.model.data_preprocessor.size = (2 * SIDE, 2 * SIDE)
    _, recorder = world.train(cfg, tmp_path)
    assert_losses(recorder, LOSSES - {'word_segmentation', 'region_word'})
