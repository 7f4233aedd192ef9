"""Take checkpoints of every kind, and stop where one is not of the model."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from code_mm.registry import HOOKS
from code_mm.weights.model_weights import ModelWeights, pretrained_files
from code_mm.weights.segmentor_layouts import rename_own

from .class_names_hook import unwrapped_model

_KEPT = "the checkpoint's is kept; for the new one start from its weights (load_from, no --resume)"
# Settings of a training -> what a resumed one does with others than the checkpoint's.
_WHEN_CHANGED = {
    'param_scheduler': _KEPT,
    'optim_wrapper.optimizer': _KEPT,
    'optim_wrapper.paramwise_cfg': _KEPT,
    'train_cfg': 'the new one is used from here on',
    'optim_wrapper': 'the new one is used from here on',
    'train_dataloader': 'the new one is used; samples may come again, or not at all',
    'randomness': 'the new one is used; samples may come again, or not at all',
}


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Refuses a checkpoint that does not fit, where MMEngine would warn and go on.

    Without it a model of another size, or a file of another project, is evaluated with weights
    that are partly or wholly random. Training may start from some of the weights. Checkpoints of
    the CoDe and TCL releases are renamed, trained parts are completed with the CLIP that the config
    names, and what was loaded, missing and unexpected is logged. An evaluation without any
    checkpoint takes the weights that ``init_cfg`` names in the model's config. Every run has this
    hook (``prepare_every_run``).

    Training is not resumed from checkpoints with the parameter names of this project's version 0.1:
    its optimizers kept the parameters in another order, so their moments would land on others.

    Raises:
        ValueError: The checkpoint does not fit.
    """

    def before_run(self, runner) -> None:
        model = unwrapped_model(runner.model)
        if _is_training(runner) or runner._load_from or runner._resume:
            return
        backbone = getattr(model, 'backbone', None)
        # a module that cannot tell counts as filled
        filled = getattr(model, 'is_init', True) or getattr(backbone, 'is_init', False)
        if not filled and any(pretrained_files(runner.cfg.get('model'))):
            print_log(
                'No checkpoint given: evaluating the weights that init_cfg of the config names.',
                logger='current',
                level=logging.WARNING,
            )
            model.init_weights()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        source = getattr(runner, '_load_from', None) or 'the newest one of the work folder'
        model, weights = unwrapped_model(runner.model), ModelWeights.of(checkpoint, source)
        names = model.state_dict().keys()
        former = rename_own(weights.state, names).keys() != weights.state.keys()
        if former and runner._resume and 'optimizer' in checkpoint:
            raise ValueError(
                f'expected to resume from a checkpoint of this version, but {source} is of an '
                'earlier one, whose optimizer had its parameters in another order; start from its '
                'weights: --cfg-options load_from=FILE in place of --resume'
            )
        if runner._resume:
            _tell_changes(checkpoint.get('meta', {}).get('cfg', ''), runner.cfg.pretty_text)
            for group in checkpoint.get('optimizer', {}).get('param_groups', ()):
                if 'fused' in group:  # this machine's kernel, not that of the one that saved
                    group['fused'] = runner.optim_wrapper.param_groups[0].get('fused')
        state = weights.fitted(model, strict=runner._resume or not _is_training(runner))
        if state.keys() != checkpoint.get('state_dict', checkpoint).keys():
            checkpoint['state_dict'] = state


def _is_training(runner) -> bool:
    # built by runner.train() before it loads anything; runner.train_loop would build it here
    return isinstance(runner._train_loop, BaseLoop)


def _tell_changes(before: str, now: str) -> None:
    """Log how the settings of two configs, as MMEngine writes them, differ; runs neither."""
    try:
        old, new = (
            {place: value for node in ast.parse(text).body for place, value in _settings(node)}
            for text in (before, now)
        )
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return  # no config that MMEngine wrote
    for place in sorted(old.keys() | new.keys()) if old else ():
        given, found = old.get(place), new.get(place)
        kind = next((kind for kind in _WHEN_CHANGED if place.startswith(kind)), None)
        if kind and given != found:
            print_log(
                f'Resuming: {place} was {given} and is {found} now; {_WHEN_CHANGED[kind]}.',
                logger='current',
                level=logging.WARNING,
            )


def _settings(node: ast.AST, place: str = '') -> Iterator[tuple[str, str]]:
    """Place and value of all that a config sets."""
    if isinstance(node, ast.Assign):
        yield from _settings(node.value, ast.unparse(node.targets[0]))
    elif isinstance(node, ast.Call):
        for key in node.keywords:
            yield from _settings(key.value, f'{place}.{key.arg}')
    elif isinstance(node, ast.List):
        for i, value in enumerate(node.elts):
            yield from _settings(value, f'{place}.{i}')
    else:
        yield place, ast.unparse(node)
