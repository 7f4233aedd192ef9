import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from code_mm.engine.hooks import PlainCheckpointHook


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'score': np.float32(0.1)}


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='tensor'):
        return {'loss': (self.weight**2).sum()} if mode == 'loss' else [self.weight]


def _best_checkpoint(tmp_path, hooks):
    loader = DataLoader([{'inputs': torch.ones(1)}] * 2)
    runner = Runner(
        Toy(),
        str(tmp_path),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=2, val_interval=1),
        val_cfg=dict(),
        val_evaluator=Evaluator(Score()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=1, save_best='score', rule='greater'
            )
        ),
        custom_hooks=hooks,
        default_scope='mmengine',
        experiment_name=f'plain_{tmp_path.name}',
    )
    runner.train()
    return tmp_path / 'iter_2.pth'


def test_the_best_score_does_not_spoil_the_checkpoint(tmp_path, load_as_others_do):
    path = _best_checkpoint(tmp_path, [PlainCheckpointHook()])
    info = load_as_others_do(path)['message_hub']['runtime_info']
    assert type(info['best_score']) is float
    assert info['best_score'] == pytest.approx(0.1)
