"""Checkpoints that load without unpickling anything but tensors and plain types."""

from collections import OrderedDict

import numpy as np
from mmengine.hooks import Hook

from code_mm.registry import HOOKS


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Turn numpy scalars in a checkpoint into Python numbers.

    MMSegmentation's metrics are numpy scalars, and ``CheckpointHook(save_best=...)`` keeps the best
    one in the checkpoint, which ``torch.load(weights_only=True)`` then refuses.
    """

    priority = 'VERY_LOW'  # after the hooks that put something into the checkpoint

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        for part in ('message_hub', 'meta'):
            if part in checkpoint:
                checkpoint[part] = _plain(checkpoint[part])


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _plain(item)) for key, item in value.items())
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value
