"""A sample that makes the loss NaN: named with shard and key, and kept out of the parameters."""

import re

import pytest
import torch
from hostile_shards import good_jpeg, write_tar

from code_mm.models.segmentors import CoDeSegmentor
from code_mm.registry import MODELS

BAD = '00000.tar/0005'


@MODELS.register_module(force=True)
class BrittleCoDe(CoDeSegmentor):
    """A CoDe whose losses are NaN where a certain sample is in the batch."""

    def loss(self, inputs, data_samples):
        losses = super().loss(inputs, data_samples)
        if BAD in [sample.sample_key for sample in data_samples]:
            losses = {name: value * torch.nan for name, value in losses.items()}
        return losses


@pytest.fixture
def cfg(world, tmp_path):
    members = []
    for number in range(12):
        members.append((f'{number:04d}.jpg', good_jpeg(number)))
        members.append((f'{number:04d}.txt', b'a boat and a fish'))
    write_tar(tmp_path / 'shards' / '00000.tar', members)
    cfg = world.config(
        iters=7,  # batches of four: the bad one is in the second of each pass
        train_dataloader__sampler__shuffle=False,
        train_dataloader__dataset__data_root=str(tmp_path / 'shards'),
    )
    cfg.model.type = 'code_mm.BrittleCoDe'
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def log_of(work_dir):
    (file,) = work_dir.glob('2*/*.log')
    return file.read_text()


def test_the_samples_are_named_and_the_batch_is_skipped(world, cfg, tmp_path):
    runner, recorder = world.train(cfg, tmp_path / 'run')
    bad = [number for number, values in recorder.losses.items() if values['loss'] != values['loss']]
    assert bad == [2, 5]
    assert len(recorder.losses) == 7
    assert all(p.isfinite().all() for p in runner.model.parameters())
    state = runner.optim_wrapper.optimizer.state
    assert all(v.isfinite().all() for s in state.values() for v in s.values() if torch.is_tensor(v))
    log = log_of(tmp_path / 'run')
    for iteration in bad:
        (line,) = re.findall(rf'Iteration {iteration}: expected finite losses.*', log)
        assert 'loss nan' in line and f'00000.tar/0004, {BAD}, 00000.tar/0006' in line
    assert '2 iterations were skipped for a non-finite loss' in log
