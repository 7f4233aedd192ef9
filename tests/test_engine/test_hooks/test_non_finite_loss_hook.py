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


def train(tmp_path, bad, accumulate=1, **hook):
    """Train on the numbers 1 to 6, of which those in ``bad`` are NaN; the weight and the log."""
    numbers = [
        dict(
            inputs=torch.tensor([math.nan if i in bad else float(i)]),
            data_samples=SegDataSample(metainfo=dict(sample_key=f'00000.tar/{i:04d}')),
        )
        for i in range(1, 7)
    ]
    runner = Runner(
        model=dict(type='code_mm.Line'),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
            dataset=numbers,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(
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


def sgd(*gradients):
    weight, velocity = 1.0, None
    for gradient in gradients:
        gradient += 0.1 * weight
        velocity = gradient if velocity is None else 0.5 * velocity + gradient
        weight -= 0.1 * velocity
    return pytest.approx(weight, rel=1e-5)


def test_skipped_iterations_leave_no_trace(tmp_path):
    weight, log = train(tmp_path, bad=(1, 2, 4, 5), max_skips=2)  # never three in a row
    assert weight == sgd(3.0, 6.0)
    assert 'Iteration 2: expected finite losses, but got loss' in log
    assert '00000.tar/0002' in log and '00000.tar/0003' not in log
    assert '4 iterations were skipped' in log


@pytest.mark.parametrize(
    ('keys', 'match'),
    [
        (dict(bad=(3,), action='stop'), r'Iteration 3: .*nan.*00000\.tar/0003'),
        (dict(bad=(3, 4, 5), max_skips=2), '0005.*3th in a row.*began at iteration 3'),
    ],
)
def test_the_run_is_stopped_at_once_or_after_too_many_in_a_row(tmp_path, keys, match):
    with pytest.raises(FloatingPointError, match=f'{match}.*Largest parameter: .*, in weight'):
        train(tmp_path, **keys)


def test_a_bad_batch_spoils_the_batches_accumulated_with_it(tmp_path):
    weight, log = train(tmp_path, bad=(3,), accumulate=2)
    # of the pairs (1, 2), (NaN, 4), (5, 6) the second is dropped
    assert weight == sgd(1.5, 5.5)
    assert '1 iterations were skipped' in log and 'Iteration 4: ' not in log
    with pytest.raises(FloatingPointError, match=r'Iteration 5: .*2th in a row'):
        train(tmp_path / 'row', bad=(3, 5), accumulate=2, max_skips=1)


@pytest.mark.skipif(IS_OLD, reason='fused AdamW on a CPU needs a newer torch')
@pytest.mark.parametrize('scaled', [False, True])
def test_overflow_under_a_gradient_scaler_is_left_to_it(scaled):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    hook = NonFiniteLossHook()
    hook.before_train(SimpleNamespace(optim_wrapper=SimpleNamespace(optimizer=optimizer)))
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
    hook.before_train(SimpleNamespace(optim_wrapper=SimpleNamespace(optimizer=optimizer)))
    for step in range(3):
        optimizer.zero_grad()
        value = math.nan if (rank, step) == (0, 1) else 1.0
        model(torch.tensor([[value]])).sum().backward()
        optimizer.step()
    return model.module.weight.item()


def test_all_processes_drop_the_same_step(run_in_two_processes):
    assert run_in_two_processes(_two_processes) == [pytest.approx(1 - 2 * 0.1)] * 2
