"""Makes a torchvision importable whose compiled part does not fit this PyTorch.

To be imported before mmseg, which imports mmpretrain, and with it torchvision, where it finds it.
"""

import sys

import torch

try:
    import torchvision
except ImportError:
    pass  # tests that need it say so
except RuntimeError:  # operator torchvision::nms does not exist
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
        del sys.modules[name]
    DECLARED = torch.library.Library('torchvision', 'FRAGMENT')  # they go with this object
    for name in ('nms', 'qnms'):
        DECLARED.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    import torchvision  # noqa: F401
