import contextlib
import itertools
import multiprocessing
import time
from types import SimpleNamespace

import pytest
import torch
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
        time.sleep(60)


@TRANSFORMS.register_module(force=True)
class Fail:
    """A step of the pipeline with a mistake."""

    def __call__(self, sample):
        raise TypeError('a mistake')


@pytest.fixture
def root(write_tar, tmp_path):
    pair = lambda n: {f'{n}.jpg': b'image', f'{n}.txt': b'a dog and a cat'}  # noqa: E731
    members = {name: data for number in range(PAIRS) for name, data in pair(number).items()}
    for shard in range(SHARDS):
        write_tar(f'data/{shard:05d}.tar', members)
    return str(tmp_path / 'data')


def setting(root, workers=2, pipeline=(), **loader):
    """Loader and hooks of a run."""
    dataset = dict(
        type='code_mm.CaptionStreamDataset',
        sources=dict(data_root=root, shards='*.tar'),
        pipeline=list(pipeline),
        shuffle_buffer=4,
    )
    loader = dict(
        dataset=dataset, sampler=None, batch_size=2, num_workers=workers, **loader
    ) | dict(persistent_workers=workers > 0)
    hooks = [dict(type='code_mm.StreamPositionHook', interval=1)]
    return loader, [*hooks, dict(type='code_mm.RandomStateHook')]


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
    checkpoint = torch.load(tmp_path / 'cut/iter_16.pth', weights_only=False)
    positions = checkpoint['stream_positions']
    readers = max(1, workers)
    assert torch.tensor(positions).shape == (1, readers, 1, 2)
    opened = sum(opened for ((passes, opened),) in positions[0] if passes == 0)
    assert 0 < opened < SHARDS
    start = dict(resume=tmp_path / 'cut/iter_16.pth')
    rest, dataset = run(root, tmp_path / 'rest', 20, workers=workers, **start)
    assert len(rest) == 4
    assert not shards_of(rest) & shards_of(cut)
    # read ahead: buffers and two batches per worker, but not what was trained on
    assert dataset.num_used <= 2 * (4 + 2 * readers + readers)
    again, _ = run(root, tmp_path / 'again', 20, workers=workers, **start)
    assert again == rest


def test_resuming_does_not_take_longer_the_later_it_is(root, tmp_path):
    """Not measured in seconds: nothing is read that is not trained on."""
    run(root, tmp_path / 'cut', 3)
    checkpoint = torch.load(tmp_path / 'cut/iter_3.pth', weights_only=False)
    checkpoint['meta']['iter'] = 1_000_000
    checkpoint['stream_positions'] = [[[[33_000, 2]], [[33_000, 2]]]]
    torch.save(checkpoint, tmp_path / 'late.pth')
    start = dict(resume=tmp_path / 'late.pth')
    batches, dataset = run(root, tmp_path / 'rest', 1_000_002, **start)
    assert len(batches) == 2
    assert dataset.num_used <= 2 * (2 + 2 * 2 + 2)
    assert dataset.progress.positions(2)[:, 0, 0].tolist() == [33_000, 33_000]


def test_a_checkpoint_without_positions_is_replayed_and_said(root, tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(stream_position_hook, 'print_log', lambda text, **_: messages.append(text))
    whole, _ = run(root, tmp_path / 'whole', 6, workers=0)
    checkpoint = torch.load(tmp_path / 'whole/iter_4.pth', weights_only=False)
    del checkpoint['stream_positions']
    torch.save(checkpoint, tmp_path / 'old.pth')
    start = dict(resume=tmp_path / 'old.pth')
    rest, _ = run(root, tmp_path / 'rest', 6, workers=0, **start)
    assert rest == whole[4:]
    assert any('holds no positions of the stream' in message for message in messages)


def test_weights_alone_begin_at_the_beginning(root, tmp_path):
    whole, _ = run(root, tmp_path / 'whole', 3, workers=0)
    start = dict(load_from=str(tmp_path / 'whole/iter_3.pth'))
    assert run(root, tmp_path / 'new', 3, workers=0, **start)[0] == whole


def test_a_hanging_worker_is_named_with_its_shard(root, tmp_path):
    pipeline = [dict(type='code_mm.Sleep')]
    begin = time.monotonic()
    loader, hooks = setting(root, 1, pipeline, timeout=3)
    runner = make_runner(tmp_path / 'run', loader, 2, hooks=hooks)
    with pytest.raises(RuntimeError) as error:
        runner.train()
    (worker,) = runner.train_loop.dataloader_iterator._iterator._workers
    for _ in range(2):
        with contextlib.suppress(RuntimeError):  # with which torch answers a worker's death
            worker.kill()
            worker.join()
    assert time.monotonic() - begin < 60
    text = str(error.value)
    assert 'DataLoader timed out after 3 seconds' in text
    assert 'worker 0 (process' in text
    assert f'preparing {root}/000' in text


def test_a_workers_own_error_keeps_its_words(root, tmp_path):
    loader, hooks = setting(root, 1, [dict(type='code_mm.Fail')])
    runner = make_runner(tmp_path / 'run', loader, 2, hooks=hooks)
    with pytest.raises(TypeError, match='Caught TypeError in DataLoader worker') as error:
        runner.train()
    assert 'What the loader was doing' not in str(error.value)


def test_other_datasets_are_left_alone_and_mistakes():
    hook = StreamPositionHook()
    runner = SimpleNamespace(train_dataloader=DataLoader([1, 2]), iter=5, max_iters=6)
    hook.before_train(runner)
    hook.after_train_iter(runner, 5)
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == {}
    for kwargs in (dict(interval=0), dict(log_interval=0)):
        with pytest.raises(ValueError, match='interval and log_interval >= 1'):
            StreamPositionHook(**kwargs)


def in_a_process(root):
    """One pass with two workers; what the hook takes and logs after four iterations."""
    # two_processes starts daemons, which may not have loader workers otherwise; 'fork' is the
    # start method of mmengine's default mp_cfg
    multiprocessing.current_process()._config['daemon'] = False
    once = CaptionStreamDataset(dict(shards='*.tar', data_root=root), [], repeat=False)
    loader = DataLoader(once, batch_size=None, num_workers=2, multiprocessing_context='fork')
    keys = [sample['sample_key'] for sample in loader]

    hook = StreamPositionHook(interval=4)
    endless = CaptionStreamDataset(dict(shards='*.tar', data_root=root), [])
    loader = DataLoader(endless, batch_size=None, num_workers=2, multiprocessing_context='fork')
    runner = SimpleNamespace(
        train_dataloader=loader, train_loop=SimpleNamespace(), iter=0, seed=1, max_iters=100
    )
    hook.before_train(runner)
    for _ in itertools.islice(loader, 4):
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    return keys, checkpoint['stream_positions'], endless.ledger.totals()[1]


def test_two_processes_with_two_workers(root, run_in_two_processes):
    (first, positions, opened), (second, other, _) = run_in_two_processes(in_a_process, root)
    expected = [f'{shard:05d}.tar/{n}' for shard in range(SHARDS) for n in range(PAIRS)]
    assert sorted(first + second) == expected  # every sample exactly once
    assert len(first) == len(second) == SHARDS * PAIRS // 2
    assert positions == other  # all ranks know those of all
    assert torch.tensor(positions).shape == (2, 2, 1, 2)
    assert all(position[0][0] >= 0 for process in positions for position in process)
    assert opened > 0
