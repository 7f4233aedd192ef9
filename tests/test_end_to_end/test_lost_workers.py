"""Workers that are killed and shards that vanish in mid-run: an error or a count, no hang."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hostile_shards import as_stream, good_jpeg, write_tar
from mmengine.hooks import Hook

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 100  # seconds
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
        members = []
        for row in range(6):
            members.append((f'{number}{row}.jpg', good_jpeg(row)))
            members.append((f'{number}{row}.txt', CAPTIONS[row % 3]))
        write_tar(tmp_path / 'shards' / f'{number:05d}.tar', members)
    return tmp_path / 'shards'


class AtIteration(Hook):
    """Does something once in mid-run."""

    def __init__(self, iteration, action):
        self.iteration, self.action = iteration, action

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            self.action()


def map_style(world, shards, num_workers):
    return world.config(
        iters=30,
        train_dataloader__num_workers=num_workers,
        train_dataloader__dataset__data_root=str(shards),
        train_dataloader__dataset__max_open_shards=1,  # an open file survives its deletion
        train_dataloader__dataset__max_bad_fraction=1.0,
    )


def streaming(world, shards, num_workers):
    sources = dict(name='four', shards='*.tar', data_root=str(shards))
    return as_stream(world.config(iters=30), num_workers, sources, max_bad_fraction=1.0)


def runner_of(world, cfg, work_dir):
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    return world.runner(cfg, work_dir)


# A dying worker's sockets close before SIGCHLD is sent. A loader that reads just then finds a reset
# connection, which torch passes on as it is while the process still counts as alive. Hence the two
# tests below let nothing be read until the worker is dead.


def kill_a_worker(killed):
    worker = min(multiprocessing.active_children(), key=lambda process: process.pid)
    killed.append(worker.pid)
    os.kill(worker.pid, signal.SIGKILL)
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # torch's handler raises here


@pytest.mark.parametrize('config', [map_style, streaming])
def test_a_killed_worker_is_an_error(world, shards, tmp_path, config):
    runner, recorder = runner_of(world, config(world, shards, 2), tmp_path / 'run')
    killed = []
    runner.register_hook(AtIteration(3, lambda: kill_a_worker(killed)))
    with pytest.raises(RuntimeError, match=r'worker \(pid \d+\) is killed by signal') as error:
        runner.train()
    assert len(recorder.losses) == 2
    assert f'(pid {killed[0]})' in str(error.value)


def test_a_killed_worker_ends_the_tool(world, shards, tmp_path):
    """As users run it: the exit code is that of a failure, and nothing is left running."""
    cfg = streaming(world, shards, 2)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_cfg.max_iters = 100_000
    cfg.default_hooks.logger.interval = 1
    cfg.dump(tmp_path / 'tiny.py')
    command = [sys.executable, ROOT / 'tools/train.py', 'tiny.py', '--work-dir', 'run']
    with open(tmp_path / 'out', 'w') as out:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            while 'Iter(train) [     5/' not in (tmp_path / 'out').read_text():
                assert process.poll() is None, (tmp_path / 'out').read_text()[-3000:]
                signal.sigtimedwait([signal.SIGCHLD], 0.2)
            children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
            process.send_signal(signal.SIGSTOP)
            os.kill(int(children[-1]), signal.SIGKILL)
            while 'State:\tZ' not in Path(f'/proc/{children[-1]}/status').read_text():
                time.sleep(0.01)
            process.send_signal(signal.SIGCONT)
            assert process.wait(LIMIT) == 1
        finally:
            process.kill()
    assert 'is killed by signal: Killed' in (tmp_path / 'out').read_text()
    assert not any(Path(f'/proc/{pid}').exists() for pid in children)


def cut(path):
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) // 2 + 100)


@pytest.mark.parametrize('num_workers', [0, 2])
@pytest.mark.parametrize('config', [map_style, streaming])
def test_shards_that_vanish_or_shrink_are_counted(world, shards, tmp_path, config, num_workers):
    def damage():
        (shards / '00001.tar').unlink()
        cut(shards / '00002.tar')

    runner, recorder = runner_of(world, config(world, shards, num_workers), tmp_path / 'run')
    runner.register_hook(AtIteration(3, damage))
    runner.train()
    assert len(recorder.losses) == 30
    skipped = runner.train_dataloader.dataset.skipped
    assert skipped['missing_shard'] >= 1
    assert skipped['truncated_shard'] >= 1
    (file,) = (tmp_path / 'run').glob('2*/*.log')
    lines = file.read_text().splitlines()
    for shard, reason in (('00001.tar', 'missing_shard'), ('00002.tar', 'truncated_shard')):
        assert any(f'left out {shard}' in line and reason in line for line in lines)


@pytest.mark.parametrize('config', [map_style, streaming])
def test_when_all_shards_vanish_the_run_ends(world, shards, tmp_path, config):
    def delete():
        for path in shards.glob('*.tar'):
            path.unlink()

    runner, recorder = runner_of(world, config(world, shards, 2), tmp_path / 'run')
    runner.register_hook(AtIteration(3, delete))
    with pytest.raises(RuntimeError, match=r'no usable sample|no image with a.*missing_shard'):
        runner.train()
    assert 3 <= len(recorder.losses) < 30
