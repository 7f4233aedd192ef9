"""Symmetric InfoNCE over the global batch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.ops import gather, l2_normalize, rank
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep


def symmetric_cross_entropy(image_logits: Tensor, text_logits: Tensor) -> Tensor:
    """Mean of the image-to-text and the text-to-image cross-entropy of one process.

    Logits [n, m] are those of local images (texts) against the texts (images) of all processes; the
    positive of row i is column ``rank * n + i``. The result is 0-d, fp32 at least; averaged over
    the processes it is the loss of the joined batch.
    """
    n = len(image_logits)
    target = rank() * n + torch.arange(n, device=image_logits.device)
    logits = torch.stack((image_logits, text_logits))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return 0.5 * (F.cross_entropy(logits[0], target) + F.cross_entropy(logits[1], target))


def info_nce(image_embed: Tensor, text_embed: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE of paired embeddings (thesis Eq. 3.7).

    Rows are local, columns come from all processes, gathered with gradient.

    Args:
        image_embed (Tensor): [n, c]; normalised here.
        text_embed (Tensor): [n, c], row i is the positive of image row i; normalised here.
        scale (Tensor | float): 1 / temperature, > 0.

    Returns:
        Tensor: 0-d; the mean over processes is the loss of the joined batch.
    """
    if image_embed.shape != text_embed.shape or image_embed.dim() != 2:
        raise ValueError(
            'expected image and text embeddings of one shape [n, c], but got '
            f'{tuple(image_embed.shape)} and {tuple(text_embed.shape)}'
        )
    # Autocast would round the similarities, which are multiplied by up to 100.
    with torch.autocast(image_embed.device.type, enabled=False):
        image_embed, text_embed = (
            l2_normalize(x.to(torch.promote_types(x.dtype, torch.float32)))
            for x in (image_embed, text_embed)
        )
        image_logits = scale * image_embed @ gather(text_embed).T  # n x m
        text_logits = scale * text_embed @ gather(image_embed).T  # n x m
        return symmetric_cross_entropy(image_logits, text_logits)


class LogitScale(nn.Module):
    """Base of losses with a learnable factor on cosines, ``exp(logit_scale)`` (CLIP).

    It starts at 1 / 0.07; beyond ``max_scale`` it receives no gradient.
    """

    max_scale = 100.0

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def scale(self) -> Tensor:
        """The factor on cosine similarities, 0-d, in (0, max_scale]."""
        return self.logit_scale.exp().clamp(max=self.max_scale)


@MODELS.register_module()
class InfoNCELoss(LogitScale):
    """Symmetric InfoNCE between highlighted regions and texts, for any number of processes.

    With highlighted texts it is L_hcl (thesis Eq. 3.7), with nouns TCL's image level, or §4.4.

    Args:
        text (str): Value of the step that regions are compared with, 'text_embed' or 'nouns'.
    """

    def __init__(self, text: str, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.text = text

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        pairs = step.region_embed, step.value(self.text)
        return self.loss_weight * info_nce(*pairs, self.scale())
