"""Take checkpoints of every kind, and stop where one is not of the model."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper

from code_mm.registry import HOOKS
from code_mm.weights.model_weights import ModelWeights


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Refuses a checkpoint that does not fit, where MMEngine would warn and go on.

    Without it a model of another size, or a file of another project, is evaluated with weights
    that are partly or wholly random. Checkpoints of the CoDe and TCL releases are renamed, trained
    parts are completed with the CLIP that the config names, and what was loaded, missing and
    unexpected is logged. ``tools/train.py`` and ``tools/test.py`` always use it.

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
        weights = ModelWeights.of(checkpoint, source)
        state = weights.fitted(model, self.strict)
        if weights.layout != 'own':
            checkpoint['state_dict'] = state
