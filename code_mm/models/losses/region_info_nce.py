"""InfoNCE whose image embedding depends on the text it is compared with."""

import torch
from torch import Tensor

from code_mm.ops import gather, l2_normalize, rank
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep
from .info_nce import LogitScale, symmetric_cross_entropy


def region_info_nce(
    region_embed: Tensor, text_embed: Tensor, scale: Tensor | float, sync: bool = True
) -> Tensor:
    """Extended InfoNCE: image i is pooled with the mask of the very text it meets.

    With ``s_ij = cos(region_embed[i, j], text_embed[j])`` over all images i and texts j of the
    global batch, the loss is the symmetric cross-entropy of s (TCL, Cha et al., 2023). The
    text-to-image direction of text j needs column j of *every* process; only the similarities are
    exchanged for it.

    Args:
        region_embed (Tensor): [n, m, c], local image rows pooled by the masks of all m texts of all
            processes, rank after rank; normalised here.
        text_embed (Tensor): [n, c], row i is the positive of image row i; normalised here.
        scale (Tensor | float): 1 / temperature, > 0.
        sync (bool): False is what the authors' release computes on several processes: text j meets
            the images of another process pooled by a mask of that process' own texts.

    Returns:
        Tensor: 0-d; the mean over processes is the loss of the joined batch.
    """
    # Autocast would round the similarities, which are multiplied by up to 100.
    with torch.autocast(region_embed.device.type, enabled=False):
        dtype = torch.promote_types(region_embed.dtype, torch.float32)
        texts = gather(l2_normalize(text_embed.to(dtype)))  # m x c
        n, m = len(text_embed), len(texts)
        if region_embed.shape != (n, m, texts.shape[1]):
            raise ValueError(
                f'expected region embeddings of shape {(n, m, texts.shape[1])}, one per local '
                f'image and gathered text, but got {tuple(region_embed.shape)}'
            )
        regions = l2_normalize(region_embed.to(dtype))
        similarity = torch.einsum('nmc,mc->nm', regions, texts)
        own = slice(rank() * n, (rank() + 1) * n)
        if sync:
            own_texts = gather(similarity)[:, own].T  # n texts x m images
        else:
            own_texts = torch.einsum('mnc,nc->nm', gather(regions[:, own]), texts[own])
        return symmetric_cross_entropy(scale * similarity, scale * own_texts)


@MODELS.register_module()
class RegionInfoNCELoss(LogitScale):
    """Feature-level contrast of the image segmenter, see :func:`region_info_nce`."""

    def __init__(self, loss_weight: float = 1.0, sync: bool = True) -> None:
        super().__init__(loss_weight)
        self.sync = sync

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        return self.loss_weight * region_info_nce(step.pooled, step.nouns, self.scale(), self.sync)
