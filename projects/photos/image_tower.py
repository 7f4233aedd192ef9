"""EfficientNet-Lite2 (Tan and Le, ICML 2019), read cell by cell."""

from __future__ import annotations

import copy
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.models.backbones import run_checkpointed
from code_mm.weights import read_tensors

from .packages import image_weights_file, require_package

# The blocks behind the fifth stage's: the sixth halves the grid, the seventh is the last block.
_SIXTH_STAGE = 15
_NETWORK = 'efficientnet-lite2'


class ImageTower(nn.Module):
    """ImageNet's EfficientNet-Lite2; parameters are named as in its package.

    Every convolution pads as TensorFlow does, for the image that is given.

    Args:
        stride (int): Pixels per cell: 32, or 16, where the sixth stage keeps the grid and what
            follows it is dilated.
        with_cp (bool): Activation checkpointing of every block but the last.
    """

    def __init__(self, stride: int = 32, with_cp: bool = False) -> None:
        super().__init__()
        self.with_cp = with_cp
        if stride not in (16, 32):
            raise ValueError(f'expected a stride of 16 or 32 pixels, but got {stride}')
        package = require_package('efficientnet_lite_pytorch')
        # without an image size paddings follow the image
        self.network = package.EfficientNet.from_name(_NETWORK, image_size=None)
        if stride == 16:
            blocks = self.network._blocks[_SIXTH_STAGE:]
            blocks[0]._depthwise_conv.stride = [1, 1]
            for block in blocks[1:]:
                block._depthwise_conv.dilation = (2, 2)

    @property
    def class_weights(self) -> Tensor:
        """Rows of ImageNet's classifier [1000, 1280], in the order of ILSVRC."""
        return self.network._fc.weight

    def load(self, path: str | Path | None = None) -> None:
        """Fill the network from its weight file, the package's by default.

        Raises:
            ValueError: The file is damaged or of another network.
        """
        path = image_weights_file(path)
        try:
            self.network.load_state_dict(read_tensors(path))
        except RuntimeError as error:
            raise ValueError(
                f'expected the weights of {_NETWORK}, but {path} does not fit: {error}'
            ) from error

    def trunk(self, image: Tensor) -> Tensor:
        """Images [b, 3, H, W] -> what enters the last block [b, 208, h, w]."""
        net = self.network
        x = net._swish(net._bn0(net._conv_stem(image)))
        for block in net._blocks[:-1]:
            x = run_checkpointed(block, x, with_cp=self.with_cp)
        return x

    def cells(self, trunk: Tensor) -> Tensor:
        """Features before pooling [b, 1280, h, w], in [0, 6], of the trunk's value."""
        return head(self.network, self.network._blocks[-1](trunk))

    def copy_of_head(self) -> nn.ModuleDict:
        """Trainable copies of the last block, and of the convolution and its norm behind it."""
        net = self.network
        parts = dict(_last=net._blocks[-1], _conv_head=net._conv_head, _bn1=net._bn1)
        return nn.ModuleDict(copy.deepcopy(parts)).requires_grad_(True)


def head(parts: nn.Module, features: Tensor) -> Tensor:
    """What follows the last block: [b, 352, h, w] -> [b, 1280, h, w]."""
    return F.relu6(parts._bn1(parts._conv_head(features)))
