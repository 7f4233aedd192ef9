"""What users get wrong: a clear error that names it, or a counted, logged skip."""

import pytest


def contexts_leave_no_room_for_the_nouns(cfg):
    cfg.model.co_decomposition.noun_prompt.num_contexts = 10


def captions_are_longer_than_the_text_tower(cfg):
    cfg.train_dataloader.dataset.pipeline[4].context_length = 77


def the_tokenising_transform_was_forgotten(cfg):
    assert cfg.train_dataloader.dataset.pipeline.pop(4).type == 'TokenizeCaption'


@pytest.mark.parametrize(
    ('mistake', 'error', 'match'),
    [
        (contexts_leave_no_room_for_the_nouns, ValueError, r'of at most 14 tokens .* but got 20'),
        (captions_are_longer_than_the_text_tower, ValueError, 'at most 24 tokens, but got 77'),
        (the_tokenising_transform_was_forgotten, KeyError, 'put TokenizeCaption before Pack'),
    ],
)
def test_mistakes_are_named(world, tmp_path, mistake, error, match):
    cfg = world.config(train_cfg__val_interval=100)
    mistake(cfg)
    runner, _ = world.runner(cfg, tmp_path)
    with pytest.raises(error, match=match):
        runner.train()


def test_shards_without_a_usable_sample_end_the_run(world, tmp_path, write_pairs):
    write_pairs('0.tar', ['a star'] * 4)
    cfg = world.config(train_dataloader__dataset__data_root=str(tmp_path))
    runner, _ = world.runner(cfg, tmp_path / 'run')
    with pytest.raises(RuntimeError, match=r"no usable sample in 101 tries.*'few_nouns': 4.*num_"):
        runner.train()


def test_images_smaller_than_a_patch_in_evaluation_are_padded(world, tmp_path):
    cfg = world.config()
    cfg.val_dataloader.dataset.pipeline[1].scale = (5, 5)
    runner, _ = world.runner(cfg, tmp_path)
    runner.model.init_weights()
    assert 0 <= runner.val()['mIoU'] <= 100
