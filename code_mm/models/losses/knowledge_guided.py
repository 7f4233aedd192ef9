"""Keeps prompted noun embeddings near the ones of hand-written templates."""

import torch
from torch import Tensor

from code_mm.ops import l2_normalize
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep

MODES = ('cosine', 'squared_l2')


def knowledge_guided_loss(noun_embed: Tensor, guide_embed: Tensor, mode: str = 'cosine') -> Tensor:
    """Mean distance of noun embeddings from their guides (KgCoOp, Yao et al., 2023).

    ``squared_l2`` is thesis Eq. 3.1; ``cosine``, 1 - cos, is half of it on unit vectors and is what
    the authors' release trains with.

    Args:
        noun_embed (Tensor): [n, c], from the learnable prompt; normalised here.
        guide_embed (Tensor): [n, c], from a template; normalised here, receives no gradient.
        mode (str): 'cosine' (loss in [0, 2]) or 'squared_l2' (loss in [0, 4]).

    Returns:
        Tensor: 0-d, mean over the n nouns.
    """
    if noun_embed.shape != guide_embed.shape:
        raise ValueError(
            'expected noun and guide embeddings of one shape, but got '
            f'{tuple(noun_embed.shape)} and {tuple(guide_embed.shape)}'
        )
    dtype = torch.promote_types(noun_embed.dtype, torch.float32)
    noun = l2_normalize(noun_embed.to(dtype))
    guide = l2_normalize(guide_embed.detach().to(dtype))
    if mode == 'cosine':
        return 1 - (noun * guide).sum(-1).mean()
    return (noun - guide).square().sum(-1).mean()


@MODELS.register_module()
class KnowledgeGuidedLoss(torch.nn.Module):
    """Knowledge-guided loss L_kg of the noun prompt (thesis Eq. 3.1).

    Args:
        mode (str): 'cosine' (as released) or 'squared_l2' (the thesis' form).
    """

    def __init__(self, mode: str = 'cosine', loss_weight: float = 1.0) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'expected mode to be one of {MODES}, but got {mode!r}')
        self.mode, self.loss_weight = mode, loss_weight

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        return self.loss_weight * knowledge_guided_loss(step.nouns, step.guide, self.mode)
