"""A plain Runner, once code_mm is imported: what it checks, reads and falls back to."""

import inspect
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmseg.registry import MODELS
from torch.utils.data import Dataset

from code_mm.engine import every_run
from code_mm.engine.every_run import keep_freed_memory, start_cpu_processes
from code_mm.registry import DATASETS


@MODELS.register_module(force=True)
class OneWeight(BaseModel):
    def __init__(self, init_cfg=None, **kwargs):
        super().__init__(init_cfg=init_cfg)
        self.weight = torch.nn.Parameter(torch.ones(1))
        built.append(self)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.weight.square().sum()) if mode == 'loss' else [self.weight]


@DATASETS.register_module(force=True)
class Ones(Dataset):
    metainfo = dict()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return dict(inputs=torch.ones(1))


built = []


@pytest.fixture
def config(tmp_path, monkeypatch):
    """``config(**keys)`` of a training of two steps; no GPU, whatever the machine has."""
    monkeypatch.setattr(every_run, 'keep_freed_memory', lambda: None)
    monkeypatch.chdir(tmp_path)
    built.clear()

    def make(**keys):
        checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=1)
        return Config(
            dict(
                model=dict(type='OneWeight'),
                work_dir=str(tmp_path / 'run'),
                train_dataloader=dict(
                    batch_size=1, sampler=dict(type='InfiniteSampler'), dataset=dict(type='Ones')
                ),
                train_cfg=dict(type='IterBasedTrainLoop', max_iters=2),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                default_scope='mmseg',
                experiment_name=f'{tmp_path.name}_{len(list(tmp_path.iterdir()))}',
                default_hooks=dict(checkpoint=checkpoint),
            )
            | keys
        )

    return make


def log_of(tmp_path):
    return ''.join(file.read_text() for file in sorted(tmp_path.glob('run/2*/*.log')))


def test_misspelt_keys_and_missing_files_are_named_before_anything_is_built(config):
    with pytest.raises(ValueError, match=r"got 'load_form'.*did you mean 'load_from'"):
        Runner.from_cfg(config(load_form='a.pth'))
    Path('iter_2.pth').touch()
    with pytest.raises(FileNotFoundError, match=r"'iter_3\.pth' does not exist; did you mean"):
        Runner.from_cfg(config(load_from='iter_3.pth'))
    assert not built
    Runner.from_cfg(config(load_from='https://example.com/a.pth'))  # is looked up later


class Harmful:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path('harm'),)


def test_a_run_is_resumed_without_unpickling(config, tmp_path):
    whole = Runner.from_cfg(config())
    whole.train()
    first = torch.load('run/iter_1.pth', weights_only=False)
    first['more'] = Harmful()
    torch.save(first, 'first.pth')
    resumed = Runner.from_cfg(config(load_from='first.pth', resume=True))
    resumed.train()
    assert torch.equal(resumed.model.weight, whole.model.weight)
    history = resumed.message_hub.get_scalar('train/loss')
    assert history.data[0].tolist() == whole.message_hub.get_scalar('train/loss').data[0].tolist()
    assert len(history.data[0]) == 2
    assert 'resumed epoch: 0, iter: 1' in log_of(tmp_path)
    assert not Path('harm').exists()


def test_a_checkpoint_must_fit(config):
    torch.save(dict(state_dict={'other.weight': torch.ones(1)}), 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth .* lacks 1 of its 1 parameters'):
        Runner.from_cfg(config(load_from='other.pth')).train()


def test_mixed_precision_becomes_full_precision_without_a_gpu(config, tmp_path):
    amp = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16')
    amp.update(clip_grad=dict(max_norm=0.5), optimizer=dict(type='SGD', lr=0.1))
    runner = Runner.from_cfg(config(optim_wrapper=amp))
    runner.train()
    assert type(runner.optim_wrapper) is OptimWrapper
    assert runner.model.weight.item() == pytest.approx(1 - 2 * 0.1 * 0.5)  # clipped
    assert 'training in full precision (OptimWrapper) instead' in log_of(tmp_path)


# --- several processes; joining them: tests/test_tools/test_train_and_test.py

RANKS = {
    'pytorch': dict(RANK='3', WORLD_SIZE='4', LOCAL_RANK='1'),
    'slurm': dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1'),
}


@pytest.fixture
def joined(monkeypatch):
    """Records what the group would be joined with; starts no group."""
    calls = []
    names = [name for variables in RANKS.values() for name in variables]
    for name in (*names, 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_NNODES'):
        monkeypatch.setenv(name, '')  # so that whatever is set below is undone afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(dist, 'is_initialized', lambda: False)
    monkeypatch.setattr(dist, 'init_process_group', lambda *a, **k: calls.append((a, k)))
    return calls


@pytest.mark.parametrize('launcher', RANKS)
def test_ranks_come_from_the_launcher(joined, monkeypatch, launcher):
    for name, value in RANKS[launcher].items():
        monkeypatch.setenv(name, value)
    start_cpu_processes(launcher)
    assert joined == [(('gloo',), {'rank': 3, 'world_size': 4})]
    assert (os.environ['LOCAL_RANK'], os.environ['MASTER_ADDR']) == ('1', '127.0.0.1')


def test_mistakes_of_the_launch_are_told(joined, monkeypatch):
    with pytest.raises(RuntimeError, match=r'got no RANK, WORLD_SIZE, LOCAL_RANK.*dist_\*\.sh'):
        start_cpu_processes('pytorch')
    for name, value in dict(RANKS['slurm'], SLURM_NNODES='2').items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match='got no MASTER_ADDR'):
        start_cpu_processes('slurm')


# Page faults of taking and freeing 40 MB for the second to the tenth time.
PROGRAM = """
import ctypes, os, platform, resource, sys
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
{function}
keep_freed_memory()
import torch
def step():
    parts = [torch.zeros(1_000_000) + 1 for _ in range(10)]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
before = faults()
for _ in range(9):
    step()
print(faults() - before)
"""


def page_faults(**chosen):
    program = PROGRAM.format(function=inspect.getsource(keep_freed_memory))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC_', 'GLIBC_'))}
    command = [sys.executable, '-c', program]
    return int(subprocess.check_output(command, env={**environment, **chosen}))


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='not the GNU C library')
def test_kept_memory_is_not_asked_for_again_unless_the_user_chose():
    by_default = page_faults(GLIBC_TUNABLES='glibc.malloc.trim_threshold=131072')
    assert page_faults() < by_default / 2
