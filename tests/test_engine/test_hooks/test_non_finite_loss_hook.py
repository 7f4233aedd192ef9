import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch_release import IS_OLD

from code_mm.engine.hooks import NonFiniteLossHook
from code_mm.registry import MODELS


@MODELS.register_module(force=True)
class Line(BaseModel):
    """loss = weight · x, so that the gradient is x."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss_line=(self.weight * torch.stack(inputs)).mean())


def numbers(bad):
    """Numbers 1 to 6; those at the indices in ``bad`` are NaN."""
    return [
        dict(
            inputs=torch.tensor([math.nan if i in bad else i + 1.0]),
            data_samples=SegDataSample(metainfo=dict(sample_key=f'00000.tar/{i:04d}')),
        )
        for i in range(6)
    ]


def _train(tmp_path, bad=(2,), accumulate=1, **hook):
    """A training with the hook; its model's weight and its log."""
    runner = Runner(
        model=dict(type='code_mm.Line'),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
            dataset=numbers(bad),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(
            type='OptimWrapper',
            # momentum and decay would move the weight even with a gradient of zero
            optimizer=dict(type='SGD', lr=0.1, momentum=0.5, weight_decay=0.1),
            accumulative_counts=accumulate,
            clip_grad=dict(max_norm=1e6),
        ),
        custom_hooks=[dict(type='code_mm.NonFiniteLossHook', **hook)],
        default_hooks=dict(checkpoint=None),
        default_scope='mmseg',
        experiment_name=f'{tmp_path.name}_non_finite',
    )
    runner.train()
    log = ''.join(file.read_text() for file in tmp_path.rglob('*.log'))
    return runner.model.weight.item(), log


def _sgd(gradients):
    weight, velocity = 1.0, None
    for gradient in gradients:
        gradient += 0.1 * weight
        velocity = gradient if velocity is None else 0.5 * velocity + gradient
        weight -= 0.1 * velocity
    return weight


def test_skipped_iteration_leaves_no_trace(tmp_path):
    weight, log = _train(tmp_path, action='skip')
    # all but the bad one
    assert weight == pytest.approx(_sgd([1.0, 2.0, 4.0, 5.0, 6.0]), rel=1e-5)
    assert 'Iteration 3: expected finite losses, but got loss' in log
    assert '00000.tar/0002' in log and '00000.tar/0001' not in log
    assert '1 iterations were skipped' in log


def test_the_run_is_stopped_at_once_or_after_too_many_in_a_row(tmp_path):
    with pytest.raises(FloatingPointError, match=r'Iteration 3: .*nan.*00000\.tar/0002'):
        _train(tmp_path / 'stop', action='stop')
    with pytest.raises(FloatingPointError, match=r'0004.*3th in a row'):
        _train(tmp_path / 'row', bad=(2, 3, 4), max_skips=2)
    weight, _ = _train(tmp_path / 'apart', bad=(0, 1, 3, 4), max_skips=2)
    assert weight == pytest.approx(_sgd([3.0, 6.0]), rel=1e-5)


def test_a_bad_batch_spoils_the_batches_accumulated_with_it(tmp_path):
    weight, log = _train(tmp_path, accumulate=2)
    # of the pairs (1, 2), (NaN, 4), (5, 6) the second is dropped
    assert weight == pytest.approx(_sgd([1.5, 5.5]), rel=1e-5)
    assert 'Iteration 4: gradients are not finite' in log and 'accumulated batch' in log


@pytest.mark.skipif(IS_OLD, reason='fused AdamW on a CPU needs a newer torch')
@pytest.mark.parametrize('scaled', [False, True])
def test_overflow_under_a_gradient_scaler_is_left_to_it(scaled):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    hook = NonFiniteLossHook()
    optimizer.register_step_pre_hook(hook._drop_non_finite)
    weight.grad = torch.tensor([math.inf, 1.0])
    if scaled:  # as torch.amp.GradScaler does before it calls step()
        optimizer.grad_scale, optimizer.found_inf = None, torch.ones(())
    optimizer.step()
    assert hook._dropped is not scaled
    assert weight.tolist() == [1.0, 1.0]


def _two_processes():
    """Only the first process has a bad batch; both must drop the step."""
    rank = torch.distributed.get_rank()
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1, bias=False))
    torch.nn.init.ones_(model.module.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hook = NonFiniteLossHook()
    optimizer.register_step_pre_hook(hook._drop_non_finite)
    for step in range(3):
        optimizer.zero_grad()
        value = math.nan if (rank, step) == (0, 1) else 1.0
        model(torch.tensor([[value]])).sum().backward()
        optimizer.step()
    return model.module.weight.detach().clone(), hook._dropped


def test_all_processes_drop_the_same_step(run_in_two_processes):
    for weight, dropped in run_in_two_processes(_two_processes):
        assert weight.item() == pytest.approx(1 - 2 * 0.1)
        assert dropped


def test_divergence_tells_where_it_began_and_how_far_it_went(tmp_path):
    hook = NonFiniteLossHook(max_skips=1)
    runner = SimpleNamespace(model=torch.nn.ModuleDict(dict(a=torch.nn.PReLU(init=3e29))), iter=6)
    hook.after_train_iter(runner, 6, {}, dict(loss=torch.tensor(torch.nan)))
    runner.iter = 7
    told = r'Iteration 8: .*2th in a row.*began at iteration 7.*Largest parameter: 3e\+29, in a\.w'
    with pytest.raises(FloatingPointError, match=told):
        hook.after_train_iter(runner, 7, {}, dict(loss=torch.tensor(torch.nan)))
