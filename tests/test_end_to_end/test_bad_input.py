"""What users get wrong: a clear error that names it, or a counted, logged skip."""

import io
import tarfile

import cv2
import numpy as np
import pytest

CAPTIONS = ['a star on the grass', 'a boat near a fish', 'a house by a tree', 'the moon and a bird']


def jpeg(side=32, seed=0):
    picture = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return cv2.imencode('.jpg', picture)[1].tobytes()


def write_shard(path, samples):
    with tarfile.open(path, 'w') as tar:
        for number, members in enumerate(samples):
            for suffix, content in members.items():
                data = content if isinstance(content, bytes) else content.encode()
                member = tarfile.TarInfo(f'{number:05d}.{suffix}')
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_shards_without_a_usable_sample_end_the_run(world, tmp_path):
    write_shard(tmp_path / '0.tar', [dict(jpg=jpeg(), txt='a star')] * 4)
    cfg = world.config(train_dataloader__dataset__data_root=str(tmp_path))
    runner, _ = world.runner(cfg, tmp_path / 'run')
    with pytest.raises(RuntimeError, match=r"no usable sample in 101 tries.*'few_nouns': 4.*num_"):
        runner.train()


def without_validation(cfg):
    cfg.merge_from_dict({'train_cfg.val_interval': 100})
    return cfg


def test_contexts_that_leave_no_room_for_the_nouns(world, tmp_path):
    cfg = without_validation(world.config(model__co_decomposition__noun_prompt__num_contexts=10))
    runner, _ = world.runner(cfg, tmp_path)
    with pytest.raises(ValueError, match=r'noun_ids of at most 14 tokens .* but got 20'):
        runner.train()


def test_captions_longer_than_the_text_tower(world, tmp_path):
    keys = dict(train_dataloader__dataset__pipeline__4__context_length=77)
    runner, _ = world.runner(without_validation(world.config(**keys)), tmp_path)
    with pytest.raises(ValueError, match='texts of at most 24 tokens, but got 77'):
        runner.train()


def test_a_tokenising_transform_that_was_forgotten(world, tmp_path):
    cfg = without_validation(world.config())
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [t for t in pipeline if t.type != 'TokenizeCaption']
    runner, _ = world.runner(cfg, tmp_path)
    with pytest.raises(KeyError, match='put TokenizeCaption before PackCaptionInputs'):
        runner.train()


def test_images_smaller_than_a_patch_in_evaluation_are_padded(world, tmp_path):
    cfg = world.config()
    cfg.val_dataloader.dataset.pipeline[1].scale = (5, 5)
    runner, _ = world.runner(cfg, tmp_path)
    runner.model.init_weights()
    assert 0 <= runner.val()['mIoU'] <= 100
