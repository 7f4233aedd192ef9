"""Small worlds of shapes, and the projects' configs at a tiny size on them."""

import copy
import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import save_file
from tiny_configs import PROJECTS, load, parts, shrink
from tiny_model import openai_state, tiny_clip


def make_world(folder, *options):
    """What the tool writes."""
    command = [sys.executable, PROJECTS / 'shapes_world/make_world.py', folder, '--workers=1']
    subprocess.run([*command, *options], check=True, cwd=folder)
    return folder


@pytest.fixture(scope='session')
def shapes_folder(tmp_path_factory):
    """Images at the size that the small CLIP knows."""
    return make_world(tmp_path_factory.mktemp('shapes'), '--train=0', '--val=6')


@pytest.fixture(scope='session')
def tiny_world(tmp_path_factory):
    """Smaller images, some to train on with labels, and the weights of a tiny CLIP."""
    folder = tmp_path_factory.mktemp('tiny')
    make_world(folder, '--size=32', '--train=16', '--val=6', '--labelled=12')
    save_file(openai_state(tiny_clip()), folder / 'clip.safetensors')
    return folder


class Recorder(Hook):
    """Keeps batches, losses and class names of training, and metrics."""

    def __init__(self):
        self.batches, self.losses, self.names, self.metrics = [], [], [], None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(copy.deepcopy(data_batch))
        self.weights = copy.deepcopy(runner.model.state_dict())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})
        self.names.append(getattr(runner.model, 'class_names', None))

    def after_test_epoch(self, runner, metrics=None):
        self.metrics = metrics


@pytest.fixture
def tiny_runner(tiny_world, tmp_path, monkeypatch):
    """``tiny_runner(config, **keys)``: a Runner of three iterations, and its Recorder."""
    # laying out configs for the log takes most of a test's time
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg._cfg_dict)))

    def build(name, **overrides):
        cfg = shrink(load(f'projects/{name}'), tiny_world / 'clip.safetensors')
        keys = {'train_cfg.max_iters': 3, 'train_cfg.val_interval': 2}
        for path, part in parts(cfg._cfg_dict.to_dict()):
            if part.get('data_root'):
                keys[f'{path}.data_root'] = str(tiny_world)
            if part['type'] == 'AddCaption':
                keys[f'{path}.ann_file'] = str(tiny_world / 'captions_training.jsonl')
            if 'indices' in part:
                keys[f'{path}.indices'] = 6 if part['indices'] > 0 else -6
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            same = dict(num_workers=0, persistent_workers=False, batch_size=4)
            keys |= {f'{loader}.{key}': value for key, value in same.items()}
        cfg.merge_from_dict({**keys, **overrides})
        hooks = cfg.get('custom_hooks', [])
        cfg.custom_hooks = [hook for hook in hooks if hook.type != 'CoDecompositionHook']
        cfg.work_dir, cfg.experiment_name = str(tmp_path), f'{name}{tmp_path}'.replace('/', '_')
        runner, recorder = Runner.from_cfg(cfg), Recorder()
        runner.register_hook(recorder, priority='LOWEST')
        return runner, recorder

    return build
