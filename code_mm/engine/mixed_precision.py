"""Mixed precision where the machine has it, full precision where it has not."""

from __future__ import annotations

import logging

from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS

# MMEngine's AmpOptimWrapper asserts one of the other devices.
_FULL_PRECISION_ONLY = ('cpu', 'mps')


@OPTIM_WRAPPERS.register_module(name='AmpOptimWrapper')  # mmseg itself has none of this name
def amp_where_available(
    loss_scale='dynamic', dtype: str | None = None, use_fsdp: bool = False, **keys
) -> OptimWrapper:
    """MMEngine's ``AmpOptimWrapper``, or its ``OptimWrapper`` on a machine without accelerator.

    The authors' schedule asks for mixed precision, which MMEngine refuses without a GPU; so the
    same config also runs on a CPU (a trial, the tests). ``mmengine.AmpOptimWrapper`` insists.
    The arguments are those of both.
    """
    if get_device() not in _FULL_PRECISION_ONLY:
        return AmpOptimWrapper(loss_scale, dtype, use_fsdp, **keys)
    print_log(
        f'the config asks for AmpOptimWrapper, but mixed precision needs a GPU and this machine '
        f'trains on {get_device()}: training in full precision (OptimWrapper) instead',
        logger='current',
        level=logging.WARNING,
    )
    return OptimWrapper(**keys)
