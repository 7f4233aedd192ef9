"""Makes a torchvision importable whose compiled part does not fit this PyTorch.

To be imported before mmseg, which imports mmpretrain, and with it torchvision, where it finds it.
"""

import sys

import torch

DECLARED = None  # they go with the library object


def _import() -> None:
    import torchvision  # noqa: F401


try:
    _import()
except ImportError:
    pass  # tests that need it say so
except RuntimeError as error:
    if 'nms does not exist' not in str(error):
        raise
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]
    DECLARED = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'):
        DECLARED.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    _import()
