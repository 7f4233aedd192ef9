import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interrupted_runs import train
from mmengine.config import Config
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from code_mm.engine.hooks import RandomStateHook, random_state_hook
from code_mm.registry import DATASETS, MODELS

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
    """Noise from every generator."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))

    def forward(self, *samples, mode):
        noise = torch.rand(3) + np.random.rand() + random.random()
        value = (torch.stack(samples) @ (noise * self.weight)).square().mean()
        return dict(loss=value) if mode == 'loss' else [value]


def run(work_dir, loader, hook=True, **keys):
    """Losses by iteration, the batches, and the trained weight."""
    validated = dict(dataset=dict(type='code_mm.NoisyNumbers'), batch_size=5)
    noted, runner = train(
        work_dir,
        loader,
        ITERS,
        model='DrawingModel',
        hooks=[dict(type='code_mm.RandomStateHook')] if hook else [],
        train_cfg=dict(val_interval=2),
        val_dataloader=dict(validated, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='DumpResults', out_file_path=str(work_dir / 'results.pkl')),
        val_cfg=dict(),
        **keys,
    )
    return noted.losses, [torch.stack(b) for b in noted.batches], runner.model.weight


def loader(sampler='InfiniteSampler', num_workers=0, **kwargs):
    dataset = dict(type='code_mm.NoisyNumbers')
    sampler = dict(type=sampler)
    return dict(dataset=dataset, sampler=sampler, batch_size=2, num_workers=num_workers, **kwargs)


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
    whole, batches, weight = run(tmp_path / 'whole', config)
    cut, *_ = run(tmp_path / 'cut', config, after=4)
    rest, _, resumed = run(tmp_path / 'rest', config, resume=tmp_path / 'cut/iter_4.pth')
    assert (sorted(cut), sorted(rest)) == ([0, 1, 2, 3], [4, 5])
    assert {**cut, **rest} == whole
    assert torch.equal(resumed, weight)
    # every batch was augmented anew
    draws = torch.cat(batches)[:, 0]
    if config['sampler'] != dict(type='DefaultSampler') or config['num_workers'] == 0:
        assert len(draws.unique()) == len(draws) == 2 * ITERS


def test_without_the_hook_the_runs_differ(tmp_path):
    """Otherwise the test above would show nothing."""
    whole, *_ = run(tmp_path / 'whole', loader(), hook=False)
    start = tmp_path / 'whole/iter_4.pth'
    assert run(tmp_path / 'rest', loader(), hook=False, resume=start)[0][4] != whole[4]


def test_data_do_not_depend_on_the_number_of_workers(tmp_path):
    seen = [torch.stack(run(tmp_path / str(n), loader(num_workers=n))[1]) for n in (0, 1, 3)]
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def test_resume_without_a_fixed_seed_is_warned_about(monkeypatch):
    lines = []
    monkeypatch.setattr(random_state_hook, 'print_log', lambda text, **_: lines.append(text))
    loader, cfg = torch.utils.data.DataLoader([1, 2]), Config(dict(randomness=dict(seed=None)))
    RandomStateHook().before_train(SimpleNamespace(train_dataloader=loader, iter=3, cfg=cfg))
    assert 'without a fixed seed' in lines[0]
