"""Workers that are killed and shards that vanish in mid-run: an error or a count, no hang."""

import multiprocessing
import os
import signal

import pytest
from hostile_shards import as_stream, good_jpeg, members_of, write_tar
from mmengine.hooks import Hook

from code_mm.datasets.shards import shard_reader

LIMIT = 300  # seconds
CAPTIONS = (b'a boat and a fish', b'a star on the grass', b'a house by a tree')


@pytest.fixture(autouse=True)
def time_limit():
    """A hang is an error: the alarm interrupts whatever waits."""

    def stop(*_):
        raise TimeoutError(f'still waiting after {LIMIT} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def shards(tmp_path):
    """Four shards of six pairs."""
    for number in range(4):
        pairs = {
            f'{number}{row}': dict(jpg=good_jpeg(row), txt=CAPTIONS[row % 3]) for row in range(6)
        }
        write_tar(tmp_path / 'shards' / f'{number:05d}.tar', members_of(pairs))
    return tmp_path / 'shards'


class AtIteration(Hook):
    """Does something once in mid-run."""

    def __init__(self, iteration, action):
        self.iteration, self.action = iteration, action

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            self.action()


def map_style(world, shards, num_workers):
    cfg = world.config(
        iters=30,
        train_dataloader__num_workers=num_workers,
        train_dataloader__dataset__data_root=str(shards),
        train_dataloader__dataset__max_bad_fraction=1.0,
    )
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return cfg


def streaming(world, shards, num_workers):
    sources = dict(name='four', shards='*.tar', data_root=str(shards))
    cfg = map_style(world, shards, num_workers)
    return as_stream(cfg, num_workers, sources, max_bad_fraction=1.0)


def kill_a_worker(killed, others):
    workers = set(multiprocessing.active_children()) - others
    worker = min(workers, key=lambda process: process.pid)
    killed.append(worker.pid)
    os.kill(worker.pid, signal.SIGKILL)
    # its sockets close before it is dead, and torch passes the reset connection on as it is
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # torch's handler raises here


@pytest.mark.parametrize('config', [map_style, streaming])
def test_a_killed_worker_is_an_error(world, shards, tmp_path, config):
    runner, recorder = world.runner(config(world, shards, 2), tmp_path / 'run')
    killed, others = [], set(multiprocessing.active_children())  # those of earlier runs
    runner.register_hook(AtIteration(3, lambda: kill_a_worker(killed, others)))
    with pytest.raises(RuntimeError, match=r'worker \(pid \d+\) is killed by signal') as error:
        runner.train()
    assert len(recorder.losses) == 2
    assert f'(pid {killed[0]})' in str(error.value)
    if config is streaming:  # what the dead one was doing can still be read
        lines = runner.train_dataloader.dataset.workers.lines()
        assert any(f'(process {killed[0]}): ' in line for line in lines)


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('config', [map_style, streaming])
def test_shards_that_vanish_or_shrink_are_counted(
    world, shards, tmp_path, config, num_workers, monkeypatch
):
    def damage():
        (shards / '00001.tar').unlink()
        os.truncate(shards / '00002.tar', os.path.getsize(shards / '00002.tar') // 2 + 100)

    monkeypatch.setattr(shard_reader, '_MAX_OPEN', 1)  # an open file survives its deletion
    runner, recorder = world.runner(config(world, shards, num_workers), tmp_path / 'run')
    runner.register_hook(AtIteration(3, damage))
    runner.train()
    assert len(recorder.losses) == 30
    skipped = runner.train_dataloader.dataset.skipped
    (file,) = (tmp_path / 'run').glob('2*/*.log')
    lines = file.read_text().splitlines()
    for shard, reason in (('00001.tar', 'missing_shard'), ('00002.tar', 'truncated_shard')):
        assert skipped[reason] >= 1
        assert any(f'left out {shard}' in line and reason in line for line in lines)


@pytest.mark.parametrize('config', [map_style, streaming])
def test_when_all_shards_vanish_the_run_ends(world, shards, tmp_path, config, monkeypatch):
    def delete():
        for path in shards.glob('*.tar'):
            path.unlink()

    monkeypatch.setattr(shard_reader, '_MAX_OPEN', 1)
    runner, recorder = world.runner(config(world, shards, 2), tmp_path / 'run')
    runner.register_hook(AtIteration(3, delete))
    with pytest.raises(RuntimeError, match=r'no usable sample|no image or caption.*missing_shard'):
        runner.train()
    assert 3 <= len(recorder.losses) < 30
