"""CoDe trains, validates, saves and resumes inside MMEngine's Runner."""

import math

import pytest
import torch
from tiny_configs import SIDE, load, shrink

ITERS, HALF = 6, 3
LOSSES = {
    *('knowledge_guided', 'region_feature', 'region_image', 'feature_variation'),
    *('mask_variation', 'area', 'negative_area', 'word_segmentation', 'region_word'),
}


def config(world, num_workers):
    return world.config(
        iters=ITERS,
        train_dataloader__num_workers=num_workers,
        train_cfg__val_interval=HALF,
        default_hooks__checkpoint__interval=HALF,
        optim_wrapper__optimizer__lr=1e-3,
        custom_hooks__0__stages__1__begin=4,
    )


@pytest.fixture(scope='module', params=[0, 2], ids=['no workers', 'two workers'])
def trained(world, request, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('whole')
    runner, recorder = world.train(config(world, request.param), work_dir)
    return request.param, work_dir, runner, recorder


def test_all_losses_of_all_iterations_are_finite_and_summed(trained):
    _, _, _, recorder = trained
    assert sorted(recorder.losses) == list(range(1, ITERS + 1))
    for values in recorder.losses.values():
        terms = {name: value for name, value in values.items() if name.startswith('loss_')}
        assert set(terms) == {f'loss_{name}' for name in LOSSES}
        assert all(map(math.isfinite, terms.values()))
        assert values['loss'] == pytest.approx(sum(terms.values()), rel=1e-5)


def test_validation_looks_for_the_classes_of_the_data_set(trained):
    _, _, runner, recorder = trained
    assert len(recorder.metrics) == ITERS // HALF
    assert all(0 <= metrics['mIoU'] <= 100 for metrics in recorder.metrics)
    classes = runner.val_dataloader.dataset.metainfo['classes']
    assert len(classes) == 150
    assert list(runner.model.class_names) == list(classes)


def test_only_what_should_learn_has_moved(trained):
    _, work_dir, runner, _ = trained
    first, last = (
        torch.load(work_dir / f'iter_{i}.pth', weights_only=False)['state_dict']
        for i in (HALF, ITERS)
    )
    moved = {name for name, value in last.items() if not torch.equal(value, first[name])}
    assert not any(name.startswith('backbone.') for name in moved)
    learnt = {n for n, p in runner.model.named_parameters() if not n.startswith('backbone.')}
    assert moved == learnt
    # stage 2 begins at iteration 4: until then the block is CLIP's
    block = 'image_segmenter.tail.block.mlp.c_fc.weight'
    clip = 'backbone.visual.transformer.resblocks.2.mlp.c_fc.weight'
    assert torch.equal(first[block], first[clip])


def test_a_resumed_run_equals_an_uninterrupted_one(world, trained, tmp_path):
    num_workers, work_dir, whole, recorded = trained
    cfg = config(world, num_workers)
    cfg.resume, cfg.load_from = True, str(work_dir / f'iter_{HALF}.pth')
    runner, recorder = world.train(cfg, tmp_path)
    assert sorted(recorder.losses) == list(range(HALF + 1, ITERS + 1))
    for iteration, values in recorder.losses.items():
        assert values == recorded.losses[iteration], iteration
    expected = whole.model.state_dict()
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert recorder.metrics == recorded.metrics[1:]


def test_the_checkpoint_needs_no_unsafe_pickle_and_holds_no_class_embeddings(
    trained, load_as_others_do
):
    _, work_dir, _, _ = trained
    content = load_as_others_do(work_dir / f'iter_{ITERS}.pth')
    assert content['meta']['iter'] == ITERS
    assert not any('class_embeddings' in name for name in content['state_dict'])


def test_the_image_segmenter_alone_trains_too(world, tmp_path):
    """Thesis Table 4.2, first row."""
    cfg = world.config(train_cfg__val_interval=100)
    cfg.model = shrink(load('ablation/segmenter_only.py'), world.clip).model
    _, recorder = world.train(cfg, tmp_path)
    terms = {name.removeprefix('loss_') for name in recorder.losses[2] if 'loss_' in name}
    assert terms == LOSSES - {'word_segmentation', 'region_word'}
    assert math.isfinite(recorder.losses[2]['loss'])


def test_larger_images_than_clip_was_trained_on(world, tmp_path):
    cfg = world.config(
        train_cfg__val_interval=100,
        train_dataloader__dataset__pipeline__3__size=2 * SIDE,
        model__data_preprocessor__size=(2 * SIDE, 2 * SIDE),
    )
    _, recorder = world.train(cfg, tmp_path)
    assert math.isfinite(recorder.losses[2]['loss'])
