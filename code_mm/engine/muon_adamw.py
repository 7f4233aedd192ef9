"""Muon for the matrices of a transformer, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor

# quintic of Jordan et al., which drives singular values towards 1 in few steps
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearly orthogonal matrices with the singular vectors of the given ones.

    Newton-Schulz iteration of Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon):
    singular values come out between about 0.7 and 1.2.

    Args:
        matrices: [n, rows, columns], rows <= columns.
        steps: Iterations.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.to(matrices.dtype)


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.AdamW):
    """AdamW whose updates of square-ish hidden matrices are orthogonalised momentum (Muon).

    A 2-d parameter takes Muon's update if both sides are multiples of ``block``; one with three
    times as many rows as columns is taken as three (queries, keys and values). Updates are scaled
    to the size of AdamW's, so that one learning rate serves both (Liu et al., 2025,
    https://arxiv.org/abs/2502.16982).

    Args:
        params: Parameters or groups.
        block: See above; the width of the transformer.
        momentum: Of Muon (Nesterov's).
        scale: Root mean square of Muon's updates per learning rate; 0.2 is about AdamW's.
        **kwargs: Of ``torch.optim.AdamW``.

    Raises:
        ValueError: ``block`` below 1.
    """

    def __init__(
        self, params, block: int = 128, momentum: float = 0.95, scale: float = 0.2, **kwargs
    ) -> None:
        if block < 1:
            raise ValueError(f'expected block >= 1, but got {block}')
        super().__init__(params, **kwargs)
        self.block, self.momentum, self.scale = block, momentum, scale

    def _is_matrix(self, parameter: Tensor) -> bool:
        return parameter.ndim == 2 and all(side % self.block == 0 for side in parameter.shape)

    @torch.no_grad()
    def step(self, closure: Callable | None = None):
        """Update all parameters."""
        matrices, gradients = [], []
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None and self._is_matrix(p):
                    matrices.append((p, group))
                    gradients.append(p.grad)
                    p.grad = None  # AdamW leaves parameters without gradient alone
        loss = super().step(closure)
        self._muon_step(matrices, gradients)
        return loss

    def _muon_step(self, matrices: list, gradients: list) -> None:
        wide, places = {}, []
        for (p, _), grad in zip(matrices, gradients, strict=True):
            state = self.state[p]
            if 'momentum' not in state:
                state['momentum'] = torch.zeros_like(grad)
                state['step'] = torch.tensor(0.0)  # AdamW expects one when it loads a state
            state['momentum'].lerp_(grad, 1 - self.momentum)
            update = grad.lerp(state['momentum'], self.momentum)
            parts = update.split(p.shape[1]) if p.shape[0] == 3 * p.shape[1] else (update,)
            for part in parts:
                tall = part.shape[0] > part.shape[1]
                part = part.T if tall else part
                rows = wide.setdefault(tuple(part.shape), [])
                places.append((tuple(part.shape), len(rows), tall))
                rows.append(part)
        done = {shape: orthogonalize(torch.stack(parts)) for shape, parts in wide.items()}
        places = iter(places)
        for (p, group), grad in zip(matrices, gradients, strict=True):
            count = 3 if p.shape[0] == 3 * p.shape[1] else 1
            parts = []
            for shape, row, tall in (next(places) for _ in range(count)):
                part = done[shape][row]
                parts.append((part.T if tall else part) * self.scale * max(shape) ** 0.5)
            p.mul_(1 - group['lr'] * group['weight_decay'])
            p.add_(torch.cat(parts), alpha=-group['lr'])
            p.grad = grad
