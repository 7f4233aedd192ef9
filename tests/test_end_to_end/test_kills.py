"""Whatever is killed and run again leaves what an undisturbed run leaves."""

import itertools
import json
import multiprocessing
import os
import random
import runpy
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from hostile_shards import as_stream, good_jpeg
from tiny_configs import load, shrink

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SEED, ITERS, LIMIT = 0, 3, 150  # seconds of a run


class Killed(Exception):
    """As it was to be."""


def run(function, out, kill_at=0):
    """Call ``function(out)`` in a process of its own; how often it asked for a file below ``out``.

    Before number ``kill_at`` the process is killed with all that it started, as by a power cut.
    """
    ours, its = multiprocessing.Pipe(duplex=False)
    arguments = function, out, kill_at, its
    child = multiprocessing.get_context('fork').Process(target=_in_child, args=arguments)
    child.start()
    its.close()
    child.join(LIMIT)
    if child.is_alive():
        os.killpg(child.pid, signal.SIGKILL)
        raise TimeoutError(f'still running after {LIMIT} s')
    if child.exitcode == -signal.SIGKILL:
        raise Killed
    assert child.exitcode == 0
    return ours.recv()


def _in_child(function, out, kill_at, pipe):
    os.setsid()
    torch.set_num_threads(1)  # a fork has no OpenMP threads
    numbers, folder = itertools.count(1), str(out)

    def audit(event, args):
        paths = (str(a) for a in args if isinstance(a, (str, os.PathLike)))
        if any(path.startswith(folder) for path in paths) and next(numbers) == kill_at:
            os.killpg(0, signal.SIGKILL)

    sys.addaudithook(audit)
    function(out)
    pipe.send(next(numbers) - 1)


def tool(name, *args):
    """A job that runs a tool with these arguments; 'OUT' is the folder of its results."""

    def job(out):
        sys.path.insert(0, str(TOOLS))
        sys.argv = [name, *(str(out) if arg == 'OUT' else str(arg) for arg in args)]
        try:
            runpy.run_path(str(TOOLS / f'{name}.py'), run_name='__main__')
        except SystemExit as end:
            if end.code:
                raise

    return job


def tagging(data):
    options = ('--out', 'OUT', '--tagger', 'textblob', '--workers', 1)
    return tool('dataset_converters/extract_nouns', data / 'shards', data / 'a.jsonl', *options)


def indexing(data):
    options = ('--index-dir', 'OUT', '--workers', 1)
    return tool('dataset_converters/index_shards', data / 'shards', *options)


def converting(data):
    options = ('--samples-per-shard', 2, '--workers', 1)
    return tool('dataset_converters/captions_to_shards', data / 'pairs', 'OUT', *options)


def segmenting(data):
    inputs = data / 'pairs/0.jpg', data / 'pairs/1.jpg', data / 'clip.avi'
    options = ('--config', data / 'maskclip.py', '--json', '--out', 'OUT', '--device', 'cpu')
    return tool('segment', *inputs, '--classes', 'cat, dog', *options)


def files(out):
    """Content by name; what a killed writer leaves is not taken for a result."""
    found = {path.relative_to(out): path for path in out.rglob('*') if '.partial' not in path.name}
    return {name: path.read_bytes() for name, path in found.items() if path.is_file()}


@pytest.fixture(scope='module')
def data(world, tmp_path_factory):
    """Pairs, a list, a video and a model, beside the world's shards."""
    folder = tmp_path_factory.mktemp('killed')
    (folder / 'shards').symlink_to(world.folder / 'shards')
    (folder / 'pairs').mkdir()
    rows = [dict(image=f'{n}.jpg', caption=f'a dog and {n} cats') for n in range(5)]
    (folder / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    for n, row in enumerate(rows):
        (folder / f'pairs/{n}.jpg').write_bytes(good_jpeg(n))
        (folder / f'pairs/{n}.txt').write_text(row['caption'])
    for name in ('.DS_Store', '._0.jpg'):  # of the operating system: no fault of the data
        (folder / 'pairs' / name).touch()
    video = cv2.VideoWriter(str(folder / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (32, 24))
    for image in np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), np.uint8):
        video.write(image)
    video.release()
    shrink(load('eval/maskclip_vit-b16_ade20k.py'), world.clip).dump(folder / 'maskclip.py')
    return folder


@pytest.mark.parametrize('tool_on', [tagging, indexing, converting, segmenting])
def test_tools(data, tmp_path, tool_on):
    job, whole = tool_on(data), tmp_path / 'whole'
    accesses = run(job, whole)
    assert len(files(whole)) > 1
    for kill_at in random.Random(f'{SEED} {tool_on.__name__}').sample(range(1, accesses), 2):
        out = tmp_path / str(kill_at)
        with pytest.raises(Killed):
            run(job, out, kill_at)
        run(job, out)
        assert files(out) == files(whole), f'killed before access {kill_at} of {accesses}'


def training(world, stream, processes, start=None):
    """A job that trains, or goes on in its folder, or from a checkpoint."""

    def job(out):
        cfg = world.config(iters=ITERS, default_hooks__checkpoint__interval=1)
        cfg.default_hooks.checkpoint.max_keep_ckpts = -1
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        if stream:
            source = dict(name='all', shards='*.tar', data_root=str(world.folder / 'shards'))
            cfg = as_stream(cfg, 0, source)
            cfg.default_hooks.stream_position.interval = 1
        cfg.resume, cfg.load_from = True, start and str(start)
        if processes == 1:
            world.runner(cfg, out)[0].train()
            return
        store = out.with_name(f'{out.name}.store')
        store.unlink(missing_ok=True)
        cfg.launcher, rank = 'pytorch', int(not os.fork())
        try:
            os.environ.update(RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=str(rank))
            dist.init_process_group('gloo', f'file://{store}', rank=rank, world_size=2)
            world.runner(cfg, out)[0].train()
        finally:
            if rank:
                os._exit(0)
        os.wait()

    return job


def learnt(out):
    """Parameters and momenta at the end."""
    state = torch.load(out / f'iter_{ITERS}.pth', weights_only=False)
    return {
        **state['state_dict'],
        **{(n, k): v for n, s in state['optimizer']['state'].items() for k, v in s.items()},
    }


@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('stream', [False, True])
def test_training(world, tmp_path, stream, processes):
    whole = tmp_path / 'whole'
    accesses = run(training(world, stream, processes), whole)
    # its first iteration is at about a quarter of them
    moments = range(accesses // 4, accesses)
    kill_at = random.Random(f'{SEED} {stream} {processes}').choice(moments)
    out, wanted = tmp_path / 'killed', whole
    with pytest.raises(Killed):
        run(training(world, stream, processes), out, kill_at)
    last = out / 'last_checkpoint'
    if stream and last.exists():  # its order is that of any run resumed there
        wanted, start = tmp_path / 'wanted', whole / Path(last.read_text()).name
        run(training(world, stream, processes, start), wanted)
    run(training(world, stream, processes), out)
    found = learnt(out)
    for name, value in learnt(wanted).items():
        assert torch.equal(found[name], value), f'killed before access {kill_at}: {name}'
