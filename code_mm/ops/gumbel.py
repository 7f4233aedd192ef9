"""Sampling of binary masks by the Gumbel-sigmoid."""

import torch
from torch import Tensor


def logistic_noise(uniform: Tensor) -> Tensor:
    """Turn numbers in [0, 1] into standard logistic noise, ``log(u / (1 - u))``, always finite.

    It is fp32 at least: half precision would round u to 1.
    """
    uniform = uniform.to(torch.promote_types(uniform.dtype, torch.float32))
    # Half a unit in the last place below 1 is the largest value that is not 1.
    margin = torch.finfo(uniform.dtype).eps / 2
    uniform = uniform.clamp(margin, 1 - margin)
    return uniform.log() - torch.log1p(-uniform)


def gumbel_sigmoid(logits: Tensor, noise: Tensor, tau: float = 1.0, hard: bool = True) -> Tensor:
    """Sample a (relaxed) binary mask whose gradient is that of the noisy sigmoid.

    ``y = sigmoid((logits + log(u / (1 - u))) / tau)`` is the two-class case of the Gumbel-softmax
    (Jang et al., 2017; Maddison et al., 2017). The hard mask is ``y > 1/2`` in the forward pass
    and y in the backward pass (straight-through).

    Args:
        logits (Tensor): Any shape, unbounded; computed in fp32 at least.
        noise (Tensor): Uniform numbers in [0, 1] of the logits' shape.
        tau (float): Temperature > 0.
        hard (bool): Give exact zeros and ones.

    Returns:
        Tensor: Values in [0, 1], shape and dtype of ``logits``.
    """
    if tau <= 0:
        raise ValueError(f'expected tau > 0, but got {tau}')
    if noise.shape != logits.shape:
        raise ValueError(
            f'expected noise of shape {tuple(logits.shape)}, one number per logit, '
            f'but got {tuple(noise.shape)}'
        )
    soft = torch.sigmoid((logits + logistic_noise(noise)) / tau)
    if hard:
        # The bracket is exactly zero in value, so the mask is exactly 0 or 1.
        soft = (soft > 0.5).to(soft.dtype) + (soft - soft.detach())
    return soft.to(logits.dtype)
