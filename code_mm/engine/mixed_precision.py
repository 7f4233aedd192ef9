"""Mixed precision where the machine has it, full precision where it has not."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.device import get_device

# MMEngine's AmpOptimWrapper asserts one of the other devices.
_FULL_PRECISION_ONLY = ('cpu', 'mps')
# What AmpOptimWrapper takes and OptimWrapper does not.
_AMP_KEYS = ('loss_scale', 'dtype', 'use_fsdp')


def replace_mixed_precision(cfg: Config) -> str | None:
    """Train in fp32 on a machine without accelerator, whatever the config asks for.

    The authors' schedule asks for mixed precision, which MMEngine refuses without a GPU. So that
    the same config runs on a CPU (a trial, the tests), ``AmpOptimWrapper`` becomes
    ``OptimWrapper``; its other keys stay. Nothing changes where there is an accelerator.

    Args:
        cfg (Config): The whole config; ``optim_wrapper`` is changed in place.

    Returns:
        str | None: What was changed, for the log of the run; None if nothing was.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    scope, _, name = str(wrapper.get('type', '')).rpartition('.')
    if name != 'AmpOptimWrapper' or get_device() not in _FULL_PRECISION_ONLY:
        return None
    wrapper['type'] = f'{scope}.OptimWrapper' if scope else 'OptimWrapper'
    for key in _AMP_KEYS:
        wrapper.pop(key, None)
    return (
        f'the config asks for AmpOptimWrapper, but mixed precision needs a GPU and this machine '
        f'trains on {get_device()}: training in full precision (OptimWrapper) instead'
    )
