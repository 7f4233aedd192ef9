"""Freeze and unfreeze parts of the model at given iterations."""

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mmengine.hooks import Hook
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from code_mm.registry import HOOKS

from .class_names_hook import unwrapped_model


@dataclass
class Stage:
    """What learns from an iteration on.

    Args:
        begin (int): First iteration (0-based); 0 for the first stage.
        freeze (Sequence[str]): Patterns (``fnmatch``) of parameter names.
        loss_weights (Mapping[str, float]): Values for ``loss_weight`` of the model's
            ``losses[name]``, or those of its co-decomposition.
    """

    begin: int
    freeze: Sequence[str] = ()
    loss_weights: Mapping[str, float] = field(default_factory=dict)


@HOOKS.register_module()
class TrainingStagesHook(Hook):
    """Train in stages: which parameters learn, and which losses count, from when on.

    CoDe keeps its copy of CLIP's last image block frozen for the first 30 000 iterations (the
    authors' release; the thesis does not mention it)::

        dict(type='TrainingStagesHook', stages=[
            dict(begin=0, freeze=['*.block.*']),
            dict(begin=30000)])

    A stage describes the whole state from its first iteration on: parameters it does not name are
    trained, losses it does not name have their configured weight. Only what was trainable when
    training began is ever switched, so no pattern can wake the frozen CLIP. The stage follows from
    the iteration alone: resuming anywhere is correct. Under ``MMDistributedDataParallel``, which
    waits for the gradients of what was trainable when it was made, set
    ``find_unused_parameters=True`` and no ``static_graph``.

    Args:
        stages (Sequence[dict]): Keys of :class:`Stage`, in order of ``begin``.
    """

    priority = 'HIGH'

    def __init__(self, stages: Sequence[dict]) -> None:
        self.stages = [Stage(**stage) for stage in stages]
        begins = [stage.begin for stage in self.stages]
        if not begins or begins[0] != 0 or begins != sorted(set(begins)):
            raise ValueError(
                'expected stages whose begins start at 0 and increase, '
                f'but got begins {begins}; add dict(begin=0) or reorder the stages'
            )
        self._current: int | None = None
        self._trainable: dict[str, nn.Parameter] = {}
        self._losses: dict[str, tuple[nn.Module, float]] = {}  # and their configured weights

    def before_train(self, runner) -> None:
        model = unwrapped_model(runner.model)
        if self._current is None:
            self._trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
            named = {name: None for stage in self.stages for name in stage.loss_weights}
            self._losses = _weighted_losses(model, named)
        names = [name for name, _ in model.named_parameters()]
        for stage in self.stages:
            for pattern in stage.freeze:
                _check_pattern(pattern, names)
        self._check_wrapper(runner.model)
        self._enter(runner, self._stage_at(runner.iter))

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        stage = self._stage_at(runner.iter)
        if stage != self._current:
            self._enter(runner, stage)

    def _stage_at(self, iteration: int) -> int:
        return sum(stage.begin <= iteration for stage in self.stages) - 1

    def _check_wrapper(self, model: nn.Module) -> None:
        if not isinstance(model, DistributedDataParallel):
            return
        freezes = any(self._frozen_names(stage) for stage in self.stages)
        if freezes and (model.static_graph or not model.find_unused_parameters):
            raise ValueError(
                'expected a distributed wrapper with find_unused_parameters=True and no '
                'static_graph while parameters are frozen, but got '
                f'find_unused_parameters={model.find_unused_parameters}, '
                f'static_graph={model.static_graph}; set find_unused_parameters=True in the config'
            )

    def _frozen_names(self, stage: Stage) -> set[str]:
        return {n for pattern in stage.freeze for n in fnmatch.filter(self._trainable, pattern)}

    def _enter(self, runner, index: int) -> None:
        stage = self.stages[index]
        frozen = self._frozen_names(stage)
        for name, parameter in self._trainable.items():
            parameter.requires_grad_(name not in frozen)
            if name in frozen:
                # a stale gradient would still be applied by the optimizer
                parameter.grad = None
        for name, (loss, configured) in self._losses.items():
            loss.loss_weight = stage.loss_weights.get(name, configured)
        self._current = index
        runner.logger.info(
            f'Training stage {index + 1} of {len(self.stages)} from iteration {stage.begin}: '
            f'{len(frozen)} of {len(self._trainable)} trainable parameters frozen by '
            f'{stage.freeze}, loss weights {stage.loss_weights or "as configured"}'
        )


def _weighted_losses(model: nn.Module, names: Iterable[str]) -> dict[str, tuple[nn.Module, float]]:
    losses = getattr(getattr(model, 'co_decomposition', model), 'losses', {})
    found = {
        n: (loss, loss.loss_weight) for n, loss in losses.items() if hasattr(loss, 'loss_weight')
    }
    for name in names:
        if name not in found:
            raise ValueError(
                'expected loss_weights of losses of the model with a loss_weight, but got '
                f'{name!r}; valid: {list(found)}'
            )
    return {name: found[name] for name in names}


def _check_pattern(pattern: str, names: list[str]) -> None:
    if not fnmatch.filter(names, pattern):
        near = [name for name in names if name.startswith(pattern.rstrip('*.'))][:3]
        near = near or difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
        raise ValueError(
            f'expected freeze patterns that match parameters, but {pattern!r} matches none; '
            f'nearest names: {near}'
        )
