"""Torch's Muon for the matrices of a transformer, its AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from mmengine.registry import OPTIMIZERS
from torch import Tensor


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.Optimizer):
    """``torch.optim.Muon`` (torch >= 2.9) and ``torch.optim.AdamW`` as one optimizer.

    A 2-d parameter goes to Muon if both sides are multiples of ``block``.

    Args:
        params: Parameters or groups.
        lr (float): Learning rate.
        block (int): See above; the width of the transformer.
        scale (float): Root mean square of Muon's updates per learning rate; 0.2 is about AdamW's.
        betas (tuple[float, float]), eps (float): Of AdamW.
        weight_decay (float): Of both.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        block: int = 128,
        scale: float = 0.2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        if not hasattr(torch.optim, 'Muon'):
            raise ImportError(f'MuonAdamW needs torch>=2.9, but got {torch.__version__}')
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay))
        by_part: dict[str, list] = {'muon': [], 'adamw': []}
        for group in self.param_groups:
            for name, groups in by_part.items():
                wanted = name == 'muon'
                chosen = [p for p in group['params'] if self._is_matrix(p, block) == wanted]
                if chosen:
                    # torch's own scale of Muon is 0.2
                    lr = group['lr'] * (scale / 0.2 if wanted else 1)
                    groups.append({**group, 'params': chosen, 'lr': lr})
        make = {
            'muon': partial(torch.optim.Muon, adjust_lr_fn='match_rms_adamw'),
            'adamw': partial(torch.optim.AdamW, betas=betas, eps=eps),
        }
        self.parts = {name: make[name](groups) for name, groups in by_part.items() if groups}
        self._share_groups()

    @staticmethod
    def _is_matrix(parameter: Tensor, block: int) -> bool:
        return parameter.ndim == 2 and all(side % block == 0 for side in parameter.shape)

    def _share_groups(self) -> None:
        """Let schedulers that change this optimizer's groups change those of its parts."""
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    def step(self, closure: Callable | None = None) -> None:
        """Update all parameters; a closure is not called."""
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict:
        """State of the parts by their names."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Load what :meth:`state_dict` gave."""
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self._share_groups()
