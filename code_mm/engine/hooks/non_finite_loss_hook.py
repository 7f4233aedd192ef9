"""A loss that is NaN or infinite must neither reach the parameters nor go unnoticed."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log

from code_mm.registry import HOOKS

_KEYS_PER_LINE = 16


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Names the samples behind a non-finite loss, and keeps it out of the parameters.

    Just before the optimizer's step the gradients are looked at. Where one is not finite, all are
    dropped, so that parameters, momenta and weight decay stay as they are (with those of the
    batches accumulated with a bad one, which alone is counted). Gradients are averaged over
    processes before, so all processes decide alike and no further communication is needed.
    With ``AmpOptimWrapper`` the gradient scaler does this; gradients that overflowed at its scale
    while the loss is finite are its everyday business and are not counted here.

    Args:
        action (str): What follows the report: 'skip' the iteration and go on, or 'stop' with an
            error, at parameters that are still good.
        max_skips (int): Further skipped iterations in a row after which 'skip' stops, too.
    """

    priority = 'VERY_LOW'  # the losses have been logged

    def __init__(self, action: str = 'skip', max_skips: int = 10) -> None:
        if action not in ('skip', 'stop'):
            raise ValueError(f"expected action to be 'skip' or 'stop', but got {action!r}")
        self.action, self.max_skips = action, max_skips
        self.num_skipped = 0  # in this run, by this process
        self._in_a_row = self._began = 0
        self._stepped = self._dropped = False  # the optimizer, in this iteration
        self._waits = False  # a bad gradient, reported, until the step of its accumulation
        self._handles: list = []

    def before_train(self, runner) -> None:
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if isinstance(wrapper, Mapping) else [wrapper]
        self._handles = [
            each.optimizer.register_step_pre_hook(self._drop_non_finite) for each in wrappers
        ]

    def after_train(self, runner) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self.num_skipped:
            _warn(f'{self.num_skipped} iterations were skipped for a non-finite loss')

    def after_train_iter(
        self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        losses = {k: torch.as_tensor(v).detach() for k, v in (outputs or {}).items() if 'loss' in k}
        bad = {name: float(value) for name, value in losses.items() if not value.isfinite()}
        stepped, dropped = self._stepped, self._dropped
        self._stepped = self._dropped = False
        is_old, self._waits = self._waits, not stepped and (bool(bad) or self._waits)
        if not bad and (is_old or not dropped):
            if stepped and not dropped:
                self._in_a_row = 0
            return
        self.num_skipped += 1
        self._in_a_row += 1
        self._began = self._began if self._in_a_row > 1 else runner.iter + 1
        report = _report(runner.iter + 1, bad, data_batch)
        if self.action == 'stop' or self._in_a_row > self.max_skips:
            more = "; action='skip' goes on without the batch" if self.action == 'stop' else ''
            if self._in_a_row > 1:
                more += f'; it was the {self._in_a_row}th in a row, which began at iteration '
                more += str(self._began)
            raise FloatingPointError(
                f'{report}. The parameters are those before it. Look at these samples and at the '
                f'learning rate{more}. {_largest(runner.model)}'
            )
        _warn(f'{report}. Skipped ({self.num_skipped} so far)')

    @torch.no_grad()
    def _drop_non_finite(self, optimizer, args, kwargs) -> None:
        if getattr(optimizer, 'found_inf', None) is not None:
            return  # a fused optimizer under AMP's gradient scaler passes over the step by itself
        parameters = [
            p for group in optimizer.param_groups for p in group['params'] if p.grad is not None
        ]
        if not parameters:
            return
        self._stepped = True
        norms = torch._foreach_norm([p.grad for p in parameters], math.inf)
        if not torch.stack([norm.to(norms[0].device) for norm in norms]).isfinite().all():
            self._dropped = True
            for parameter in parameters:
                parameter.grad = None  # optimizers pass over these


def _report(iteration: int, bad: dict[str, float], data_batch) -> str:
    samples = data_batch.get('data_samples', []) if isinstance(data_batch, Mapping) else []
    metas = [getattr(sample, 'metainfo', {}) for sample in samples]
    keys = [str(meta.get('sample_key', meta.get('img_path', '?'))) for meta in metas]
    batch = ', '.join(keys[:_KEYS_PER_LINE]) or 'samples without key'
    if len(keys) > _KEYS_PER_LINE:
        batch += f', … ({len(keys)} in all)'
    if bad:
        values = ', '.join(f'{name} {value}' for name, value in bad.items())
        return f'Iteration {iteration}: expected finite losses, but got {values}. Batch: {batch}'
    return (
        f'Iteration {iteration}: gradients are not finite, though the loss of this process is '
        '(another process, an earlier accumulated batch, or an overflow in the backward '
        f'pass). Batch of this process: {batch}'
    )


def _largest(model) -> str:
    """The parameter that went furthest, by which a learning rate that is too high is seen."""
    values = {n: float(p.detach().abs().max()) for n, p in model.named_parameters() if p.numel()}
    name = max(values, key=lambda name: (math.isnan(values[name]), values[name]))
    return f'Largest parameter: {values[name]:.3g}, in {name}'


def _warn(text: str) -> None:
    print_log(text, logger='current', level=logging.WARNING)
