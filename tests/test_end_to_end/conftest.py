"""A world on disk: the tiny CLIP's weights, caption shards, images with label maps."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file
from tiny_configs import load, shrink
from tiny_model import openai_state, tiny_clip

from projects.shapes_world import ShapesWorld, write_evaluation, write_shards

ROOT = Path(__file__).resolve().parents[2]


class Recorder(Hook):
    """Keeps samples' keys, the losses of every iteration and the metrics of every validation."""

    priority = 'LOWEST'

    def __init__(self):
        self.losses, self.metrics, self.keys = {}, [], set()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        values = {name: value.item() for name, value in outputs.items()}
        self.losses[runner.iter + 1] = values
        self.keys |= {sample.sample_key for sample in data_batch['data_samples']}

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)


class World:
    """Paths of the data, and configs that use them."""

    def __init__(self, folder):
        self.folder = folder
        self.clip = folder / 'clip.safetensors'
        save_file(openai_state(tiny_clip()), self.clip)
        world = ShapesWorld('easy', size=32)
        write_shards(world, folder / 'shards', count=24, per_shard=12)
        write_evaluation(world, folder / 'ade', count=3)  # an odd number for two processes

    def config(self, name='code_cc12m.py', iters=2, **overrides):
        """A config of this project on this data, by keys; ``overrides`` with __ for the dots."""
        cfg = shrink(load(name), self.clip)
        keys = {
            'train_dataloader.batch_size': 4,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.data_root': str(self.folder / 'shards'),
            'train_dataloader.dataset.shards': '*.tar',
            'train_dataloader.dataset.index_dir': None,
            'train_cfg.max_iters': iters,
            'train_cfg.val_interval': iters,
            'default_hooks': dict(
                logger=dict(type='MainProcessLoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=iters),
            ),
            'param_scheduler.0.end': 3,
        }
        for loader in ('val_dataloader', 'test_dataloader'):
            keys[f'{loader}.num_workers'] = 0
            keys[f'{loader}.persistent_workers'] = False
            keys[f'{loader}.dataset.data_root'] = str(self.folder / 'ade')
        keys.update({name.replace('__', '.'): value for name, value in overrides.items()})
        cfg.merge_from_dict(keys)
        return cfg

    def runner(self, cfg, work_dir):
        """A Runner in this process, in fp32, and what it will have recorded."""
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.work_dir = str(work_dir)
        cfg.experiment_name = str(work_dir).replace('/', '_')
        runner = Runner.from_cfg(cfg)
        recorder = Recorder()
        runner.register_hook(recorder)
        return runner, recorder

    def train(self, cfg, work_dir):
        """Train in this process."""
        runner, recorder = self.runner(cfg, work_dir)
        runner.train()
        return runner, recorder


@pytest.fixture(scope='session')
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp('world'))


@pytest.fixture(scope='session')
def run_tool():
    """``run_tool('train.py', ...)`` runs a script of ``tools/`` in this process, which is quick."""

    def run(script, *args):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(ROOT / 'tools')
            patch.setenv('LOCAL_RANK', '0')  # what the tools set, to be undone
            patch.setattr(sys, 'argv', [script, *map(str, args)])
            runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')

    return run


@pytest.fixture
def run_script(tmp_path):
    """``run_script('dist_train.sh', ...)`` runs a script of ``tools/`` as users do."""

    def run(script, *args, **variables):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = str(probe.getsockname()[1])
        environment = {**os.environ, 'PYTHON': sys.executable, 'PORT': port, **variables}
        environment['OMP_NUM_THREADS'] = '1'
        result = subprocess.run(
            [str(ROOT / 'tools' / script), *map(str, args)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
        )
        assert result.returncode == 0, result.stdout[-6000:]

    return run
