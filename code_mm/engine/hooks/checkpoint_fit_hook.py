"""Stop where a checkpoint is not one of the model."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn

from code_mm.registry import HOOKS


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Refuses a checkpoint that does not fit, where MMEngine would warn and go on.

    Without it a model of another size, or a file of another project, is evaluated with weights
    that are partly or wholly random. ``tools/train.py`` and ``tools/test.py`` always use it.

    Args:
        strict (bool): Every parameter must be in the checkpoint, in its size: for evaluation and
            for resuming. False: at least one must, for training that starts from other weights.

    Raises:
        ValueError: The checkpoint does not fit.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Compare names and sizes before the weights are taken over."""
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        source = getattr(runner, '_load_from', None) or 'the newest one of the work folder'
        self._check(model, checkpoint.get('state_dict', checkpoint), source)

    def _check(self, model: nn.Module, state: dict, source: str) -> None:
        sizes = {
            name.removeprefix('module.'): tuple(value.shape)
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
        own = {name: tuple(p.shape) for name, p in model.named_parameters()}
        missing = [name for name in own if name not in sizes]
        wrong = [name for name in own if name in sizes and sizes[name] != own[name]]
        bad = len(missing) + len(wrong)
        if bad == 0 or (not self.strict and bad < len(own)):
            return
        found = [f'{name} {sizes[name]} for {own[name]}' for name in wrong[:3]]
        raise ValueError(
            f'expected a checkpoint of this {type(model).__name__}, but {source} lacks '
            f'{len(missing)} of its {len(own)} parameters {missing[:3]} and has {len(wrong)} of '
            f'another size {found}; use the config that it was trained with'
        )
