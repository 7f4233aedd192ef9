import contextlib
import itertools
import multiprocessing
import time
from types import SimpleNamespace

import pytest
import torch
from hostile_shards import members_of
from interrupted_runs import make_runner, train
from torch.utils.data import DataLoader

from code_mm.datasets.captions import CaptionStreamDataset
from code_mm.engine.hooks import StreamPositionHook, stream_position_hook
from code_mm.registry import TRANSFORMS

SHARDS, PAIRS = 12, 10


@TRANSFORMS.register_module(force=True)
class Sleep:
    """A step of the pipeline that hangs."""

    def __call__(self, sample):
        time.sleep(600)


@pytest.fixture
def root(write_tar, tmp_path):
    pairs = {n: dict(jpg=b'image', txt=b'a dog and a cat') for n in range(PAIRS)}
    for shard in range(SHARDS):
        write_tar(f'data/{shard:05d}.tar', members_of(pairs))
    return str(tmp_path / 'data')


def setting(root, workers=2, pipeline=(), **loader):
    """Loader and hooks of a run."""
    sources = dict(data_root=root, shards='*.tar')
    dataset = dict(type='code_mm.CaptionStreamDataset', sources=sources, shuffle_buffer=4)
    dataset['pipeline'] = list(pipeline)
    loader |= dict(dataset=dataset, sampler=None, batch_size=2, num_workers=workers)
    loader['persistent_workers'] = workers > 0
    position = dict(type='code_mm.StreamPositionHook', interval=1)
    return loader, [position, dict(type='code_mm.RandomStateHook')]


def run(root, work_dir, max_iters, *, workers=2, **kwargs):
    """Trained batches of keys, and the dataset."""
    loader, hooks = setting(root, workers)
    noted, runner = train(work_dir, loader, max_iters, hooks=hooks, **kwargs)
    return [batch['sample_key'] for batch in noted.batches], runner.train_dataloader.dataset


def shards_of(batches):
    return {key[:5] for batch in batches for key in batch}


@pytest.mark.parametrize('workers', [0, 2])
def test_a_resumed_run_goes_on_at_other_shards(root, tmp_path, workers):
    whole, _ = run(root, tmp_path / 'whole', 16, workers=workers)
    cut, _ = run(root, tmp_path / 'cut', 60, after=16, workers=workers)
    assert cut == whole  # the seed of the run alone decides
    start = tmp_path / 'cut/iter_16.pth'
    positions = torch.load(start, weights_only=False)['stream_positions']
    readers = max(1, workers)
    assert torch.tensor(positions).shape == (1, readers, 1)
    assert all(0 < passes < 1 for (passes,) in positions[0])
    rest, dataset = run(root, tmp_path / 'rest', 20, workers=workers, resume=start)
    assert len(rest) == 4
    assert not shards_of(rest) & shards_of(cut)
    # read ahead: buffers and two batches per worker, but not what was trained on
    assert dataset.ledger.num_used <= 2 * (4 + 2 * readers + readers)
    again, _ = run(root, tmp_path / 'again', 20, workers=workers, resume=start)
    assert again == rest


def test_checkpoints_without_positions(root, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(stream_position_hook, 'print_log', lambda text, **_: lines.append(text))
    whole, _ = run(root, tmp_path / 'whole', 6, workers=0)
    weights = dict(load_from=str(tmp_path / 'whole/iter_3.pth'))  # alone: begin at the beginning
    assert run(root, tmp_path / 'new', 3, workers=0, **weights)[0] == whole[:3]
    old = torch.load(tmp_path / 'whole/iter_4.pth', weights_only=False)
    del old['stream_positions']
    torch.save(old, tmp_path / 'old.pth')
    rest, _ = run(root, tmp_path / 'rest', 6, workers=0, resume=tmp_path / 'old.pth')
    assert rest == whole[4:]  # replayed
    assert any('holds no positions of the stream' in line for line in lines)


def test_a_hanging_worker_is_named_with_its_shard(root, tmp_path):
    loader, hooks = setting(root, 1, [dict(type='code_mm.Sleep')], timeout=15)
    runner = make_runner(tmp_path / 'run', loader, 2, hooks=hooks)
    with pytest.raises(RuntimeError) as error:
        runner.train()
    (worker,) = runner.train_loop.dataloader_iterator._iterator._workers
    for _ in range(2):
        with contextlib.suppress(RuntimeError):  # with which torch answers a worker's death
            worker.kill()
            worker.join()
    for text in ('timed out after 15 seconds', 'worker 0 (process', f'preparing {root}/000'):
        assert text in str(error.value)


def test_other_data_sets_are_left_alone():
    loader, checkpoint = DataLoader([1, 2]), {}
    runner = SimpleNamespace(train_dataloader=loader, iter=0, max_iters=9)
    hook = StreamPositionHook(interval=1)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == {} and loader.dataset == [1, 2]
    with pytest.raises(ValueError, match='interval and log_interval >= 1'):
        StreamPositionHook(interval=0)


def in_a_process(root):
    """One pass with two workers; what the hook takes after four iterations of an endless one."""
    # two_processes starts daemons, which may not have loader workers otherwise; 'fork' is the
    # start method of mmengine's default mp_cfg
    multiprocessing.current_process()._config['daemon'] = False
    keys = dict(batch_size=None, num_workers=2, multiprocessing_context='fork')
    source = dict(shards='*.tar', data_root=root)
    once = DataLoader(CaptionStreamDataset(source, [], repeat=False), **keys)
    endless = DataLoader(CaptionStreamDataset(source, []), **keys)
    hook = StreamPositionHook(interval=4)
    keys = dict(train_loop=None, iter=0, seed=1, max_iters=100)
    runner = SimpleNamespace(train_dataloader=endless, **keys)
    hook.before_train(runner)
    for _ in itertools.islice(endless, 4):
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    return [sample['sample_key'] for sample in once], checkpoint['stream_positions']


def test_two_processes_with_two_workers(root, run_in_two_processes):
    (first, positions), (second, other) = run_in_two_processes(in_a_process, root)
    expected = [f'{shard:05d}.tar/{n}' for shard in range(SHARDS) for n in range(PAIRS)]
    assert sorted(first + second) == expected  # every sample exactly once
    assert len(first) == len(second) == SHARDS * PAIRS // 2
    assert positions == other  # all ranks know those of all
    assert torch.tensor(positions).shape == (2, 2, 1)
