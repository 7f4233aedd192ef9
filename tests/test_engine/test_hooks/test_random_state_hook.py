import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interrupted_runs import train
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from code_mm.engine.hooks import RandomStateHook, random_state_hook
from code_mm.registry import DATASETS, METRICS, MODELS

ITERS = 6


@DATASETS.register_module(force=True)
class NoisyNumbers(Dataset):
    """Ten samples with an augmentation that draws from numpy and python."""

    metainfo = dict()

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([np.random.rand(), random.random(), index], dtype=torch.float32)


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


def run(work_dir, name, loader, after=None, hook=True, resume=None):
    """Losses by iteration, the batches, and the trained parameters."""
    order = dict(type='DefaultSampler', shuffle=False)
    noted, runner = train(
        work_dir / name,
        loader,
        ITERS,
        after=after,
        model='DrawingModel',
        hooks=[dict(type='code_mm.RandomStateHook')] if hook else [],
        resume=resume,
        train_cfg=dict(val_interval=2),
        val_dataloader=dict(dataset=dict(type='code_mm.NoisyNumbers'), sampler=order, batch_size=5),
        val_evaluator=dict(type='code_mm.NoMetric'),
        val_cfg=dict(),
    )
    return noted.losses, [torch.stack(b) for b in noted.batches], list(runner.model.parameters())


def loader(sampler='InfiniteSampler', num_workers=0, **kwargs):
    return dict(
        dataset=dict(type='code_mm.NoisyNumbers'),
        sampler=dict(type=sampler),
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
]


@pytest.mark.parametrize('config', LOADERS, ids=str)
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, config):
    whole, batches, parameters = run(tmp_path, 'whole', config)
    assert len(whole) == ITERS
    cut, *_ = run(tmp_path, 'cut', config, after=4)
    rest, _, resumed = run(tmp_path, 'rest', config, resume=tmp_path / 'cut/iter_4.pth')
    assert sorted(cut) == [0, 1, 2, 3]
    assert sorted(rest) == [4, 5]
    assert {**cut, **rest} == whole
    assert all(map(torch.equal, resumed, parameters))
    # every batch was augmented anew
    draws = torch.cat(batches)[:, 0]
    if config['sampler'] != dict(type='DefaultSampler') or config['num_workers'] == 0:
        assert len(draws.unique()) == len(draws) == 2 * ITERS


def test_without_the_hook_the_runs_differ(tmp_path):
    """Otherwise the test above would show nothing."""
    whole, *_ = run(tmp_path, 'whole', loader(), hook=False)
    start = tmp_path / 'whole/iter_4.pth'
    assert run(tmp_path, 'rest', loader(), hook=False, resume=start)[0][4] != whole[4]


def test_data_do_not_depend_on_the_number_of_workers(tmp_path):
    seen = [torch.stack(run(tmp_path, str(n), loader(num_workers=n))[1]) for n in (0, 1, 3)]
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_resume_without_a_fixed_seed_is_warned_about(monkeypatch):
    lines = []
    monkeypatch.setattr(random_state_hook, 'print_log', lambda text, **_: lines.append(text))
    loader, cfg = torch.utils.data.DataLoader([1, 2]), Config(dict(randomness=dict(seed=None)))
    RandomStateHook().before_train(SimpleNamespace(train_dataloader=loader, iter=3, cfg=cfg))
    assert 'without a fixed seed' in lines[0]
