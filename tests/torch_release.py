"""What tests know of the PyTorch they run on: OpenMMLab's packages end with 2.1."""

import torch
from packaging.version import Version

IS_OLD = Version(torch.__version__) < Version('2.4')
