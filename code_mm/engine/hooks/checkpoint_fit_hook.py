"""Take checkpoints of every kind, and stop where one is not of the model."""

from __future__ import annotations

import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop

from code_mm.registry import HOOKS
from code_mm.weights.model_weights import ModelWeights, pretrained_files
from code_mm.weights.segmentor_layouts import rename_own

from .class_names_hook import unwrapped_model


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
        state = weights.fitted(model, strict=runner._resume or not _is_training(runner))
        if state.keys() != checkpoint.get('state_dict', checkpoint).keys():
            checkpoint['state_dict'] = state


def _is_training(runner) -> bool:
    # built by runner.train() before it loads anything; runner.train_loop would build it here
    return isinstance(runner._train_loop, BaseLoop)
