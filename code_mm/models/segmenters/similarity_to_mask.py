"""From similarities to region masks."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from code_mm.ops import gumbel_sigmoid
from code_mm.registry import MODELS


@MODELS.register_module()
class SimilarityToMask(BaseModule):
    """Turns cosine similarities into masks with a learnable scale and bias (thesis §3.2).

    Args:
        init_scale (float): Start value of the scale w.
        init_bias (float): Start value of the bias b; ``-b / w`` is the cosine of probability 1/2.
        temperature (float): Temperature of the Gumbel-sigmoid.
        learnable (bool): False keeps w and b, e.g. for training-free methods.
    """

    def __init__(
        self,
        init_scale: float = 10.0,
        init_bias: float = -2.5,
        temperature: float = 1.0,
        learnable: bool = True,
    ) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(init_scale)), requires_grad=learnable)
        self.bias = nn.Parameter(torch.tensor(float(init_bias)), requires_grad=learnable)
        self.temperature = temperature

    def logits(self, similarity: Tensor) -> Tensor:
        """Logits ``w * s + b`` of cosine similarities of any shape."""
        return self.scale * similarity + self.bias

    def forward(self, similarity: Tensor) -> Tensor:
        """Soft masks in (0, 1)."""
        return torch.sigmoid(self.logits(similarity))

    def hard(self, similarity: Tensor) -> Tensor:
        """Random hard masks in {0, 1}: straight-through Gumbel-sigmoid."""
        noise = self.sample_noise(similarity)
        return gumbel_sigmoid(self.logits(similarity), noise, self.temperature)

    def sample_noise(self, similarity: Tensor) -> Tensor:
        """Uniform noise in (0, 1) for every similarity."""
        return torch.rand_like(similarity, dtype=torch.float32)
