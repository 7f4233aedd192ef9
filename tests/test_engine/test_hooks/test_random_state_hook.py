import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset, IterableDataset

from code_mm.engine.hooks import RandomStateHook, random_state_hook
from code_mm.registry import DATASETS, HOOKS, METRICS, MODELS

ITERS = 6


@DATASETS.register_module(force=True)
class NoisyNumbers(Dataset):
    """Ten samples with an augmentation that draws from numpy and python."""

    metainfo = dict()

    def __len__(self):
        return 10

    def __getitem__(self, index):
        noise = [np.random.rand(), random.random(), float(index)]
        return torch.tensor(noise, dtype=torch.float32)


@DATASETS.register_module(force=True)
class NoisyStream(IterableDataset):
    """An endless stream whose content is drawn."""

    metainfo = dict()

    def __len__(self):
        return 10

    def __iter__(self):
        while True:
            noise = [np.random.rand(), random.random(), np.random.rand()]
            yield torch.tensor(noise, dtype=torch.float32)


@MODELS.register_module(force=True)
class DrawingModel(BaseModel):
    """Dropout, and noise from every generator."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x = torch.stack(inputs) if isinstance(inputs, list) else inputs
        noise = torch.rand(1) + np.random.rand() + random.random()
        out = torch.nn.functional.dropout(self.linear(x), 0.5) * (1 + 0.1 * noise)
        return [out] if mode == 'predict' else dict(loss=out.square().mean())

    def train_step(self, data, optim_wrapper):
        losses = self.forward(data)
        optim_wrapper.update_params(losses['loss'])
        self.seen.append(torch.stack(data).clone())
        return dict(loss=losses['loss'].detach())

    def val_step(self, data):
        return self.forward(data, mode='predict')


@METRICS.register_module(force=True)
class NoMetric(BaseMetric):
    default_prefix = 'none'

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(zero=0.0)


@HOOKS.register_module(force=True)
class PowerCut(Hook):
    """Notes losses; stops the run like a lost machine, after the checkpoint was written."""

    priority = 'LOWEST'

    def __init__(self, after=None):
        self.after, self.losses = after, {}

    def before_train(self, runner):
        runner.model.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses[runner.iter] = outputs['loss'].item()
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


def run(work_dir, name, loader, after=None, hook=True, **kwargs):
    hooks = [dict(type='code_mm.PowerCut', after=after)]
    hooks += [dict(type='code_mm.RandomStateHook')] if hook else []
    numbers = dict(type='code_mm.NoisyNumbers')
    runner = Runner(
        model=dict(type='code_mm.DrawingModel'),
        work_dir=str(work_dir / name),
        train_dataloader=loader,
        val_dataloader=dict(
            dataset=numbers, sampler=dict(type='DefaultSampler', shuffle=False), batch_size=5
        ),
        val_evaluator=dict(type='code_mm.NoMetric'),
        val_cfg=dict(),
        train_cfg=dict(by_epoch=False, max_iters=ITERS, val_interval=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        cfg=Config(dict(randomness=dict(seed=3))),
        randomness=dict(seed=3),
        default_scope='mmseg',
        experiment_name=f'{work_dir.name}_{name}',
        **kwargs,
    )
    try:
        runner.train()
    except KeyboardInterrupt:
        assert after is not None
    iterator = runner.train_loop.dataloader_iterator._iterator
    if hasattr(iterator, '_shutdown_workers'):
        iterator._shutdown_workers()  # left to the garbage collector it takes 10 s
    losses = next(h for h in runner.hooks if isinstance(h, PowerCut)).losses
    return losses, runner.model


@pytest.fixture(autouse=True)
def no_environment_report(monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)  # a second per Runner


def loader(dataset='NoisyNumbers', sampler='InfiniteSampler', num_workers=0, **kwargs):
    return dict(
        dataset=dict(type=f'code_mm.{dataset}'),
        sampler=dict(type=sampler) if sampler else None,
        batch_size=2,
        num_workers=num_workers,
        **kwargs,
    )


# DefaultSampler is finite: 10 samples are 5 batches, so the run crosses its end.
LOADERS = [
    loader(),
    loader(num_workers=2),
    loader(num_workers=2, persistent_workers=True),
    loader(sampler='DefaultSampler'),
    loader(sampler='DefaultSampler', num_workers=2),
    loader('NoisyStream', sampler=None),
    loader('NoisyStream', sampler=None, num_workers=2),
]


@pytest.mark.parametrize('config', LOADERS, ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, config):
    whole, model = run(tmp_path, 'whole', config)
    assert len(whole) == ITERS
    cut, _ = run(tmp_path, 'cut', config, after=4)
    rest, resumed = run(
        tmp_path, 'rest', config, load_from=str(tmp_path / 'cut/iter_4.pth'), resume=True
    )
    assert sorted(cut) == [0, 1, 2, 3]
    assert sorted(rest) == [4, 5]
    assert {**cut, **rest} == whole
    for ours, theirs in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    # every batch was augmented anew
    draws = torch.cat(model.seen)[:, 0]
    if config['sampler'] != dict(type='DefaultSampler') or config['num_workers'] == 0:
        assert len(draws.unique()) == len(draws) == 2 * ITERS


def test_without_the_hook_the_runs_differ(tmp_path):
    """Otherwise the test above would show nothing."""
    whole, _ = run(tmp_path, 'whole', loader(), hook=False)
    run(tmp_path, 'cut', loader(), after=4, hook=False)
    start = dict(load_from=str(tmp_path / 'cut/iter_4.pth'), resume=True)
    rest, _ = run(tmp_path, 'rest', loader(), hook=False, **start)
    assert rest[4] != whole[4]


def test_data_do_not_depend_on_the_number_of_workers(tmp_path):
    seen = [run(tmp_path, str(n), loader(num_workers=n))[1].seen for n in (0, 1, 3)]
    for other in seen[1:]:
        torch.testing.assert_close(torch.stack(other), torch.stack(seen[0]), rtol=0, atol=0)


@pytest.mark.parametrize('seed', [None, 7])
def test_resume_without_a_fixed_seed_is_warned_about(seed, monkeypatch):
    messages = []
    monkeypatch.setattr(random_state_hook, 'print_log', lambda text, **_: messages.append(text))
    data = torch.utils.data.DataLoader([1, 2])
    runner = SimpleNamespace(
        train_dataloader=data,
        train_loop=None,
        iter=3,
        seed=1,
        cfg=Config(dict(randomness=dict(seed=seed))),
    )
    RandomStateHook().before_train(runner)
    assert len(messages) == (seed is None)
    assert not messages or 'without a fixed seed' in messages[0]
