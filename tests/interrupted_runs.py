"""Small trainings that are cut like those of a lost machine, and resumed."""

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from code_mm.registry import HOOKS, MODELS


@MODELS.register_module(force=True)
class SeeingModel(BaseModel):
    """Learns nothing from its batches."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError

    def train_step(self, data, optim_wrapper):
        optim_wrapper.update_params(self.weight.sum())
        return dict(loss=self.weight.detach())


@HOOKS.register_module(force=True)
class PowerCut(Hook):
    """Notes batches and losses; stops the run after the checkpoint was written."""

    priority = 'LOWEST'

    def __init__(self, after=None):
        self.after, self.batches, self.losses = after, [], {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.batches.append(data_batch)
        self.losses[runner.iter] = outputs['loss'].item()
        if runner.iter + 1 == self.after:
            raise KeyboardInterrupt


def make_runner(
    work_dir, loader, max_iters, after=None, model='SeeingModel', hooks=(), resume=None, **kwargs
):
    """A Runner; ``resume`` is a checkpoint, ``after`` the iteration at which it is cut."""
    train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, **kwargs.pop('train_cfg', {}))
    if resume is not None:
        kwargs.update(load_from=str(resume), resume=True)
    return Runner(
        model=dict(type=f'code_mm.{model}'),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=train_cfg,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        custom_hooks=[*hooks, dict(type='code_mm.PowerCut', after=after)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        cfg=Config(dict(randomness=dict(seed=3))),
        randomness=dict(seed=3),
        default_scope='mmseg',
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}',
        **kwargs,
    )


def train(*args, **kwargs):
    """Train; returns what PowerCut noted, and the runner."""
    runner = make_runner(*args, **kwargs)
    try:
        runner.train()
    except KeyboardInterrupt:
        assert kwargs['after'] is not None
    iterator = runner.train_loop.dataloader_iterator._iterator
    if hasattr(iterator, '_shutdown_workers'):
        iterator._shutdown_workers()  # left to the garbage collector it takes 10 s
    return next(hook for hook in runner.hooks if isinstance(hook, PowerCut)), runner
