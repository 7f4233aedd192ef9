"""Symmetric InfoNCE over the global batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from code_mm.ops import gather, l2_normalize, rank
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep
from .logit_scale import LogitScale


def symmetric_cross_entropy(image_logits: Tensor, text_logits: Tensor) -> Tensor:
    """Mean of the image-to-text and the text-to-image cross-entropy of one process.

    The positive of local row i is column ``rank * n + i``. Averaged over the
    processes this is the loss of the joined batch.

    Args:
        image_logits: [n, m], local images against the texts of all processes.
        text_logits: [n, m], local texts against the images of all processes.

    Returns:
        0-d, fp32 at least.
    """
    n = len(image_logits)
    target = rank() * n + torch.arange(n, device=image_logits.device)
    logits = torch.stack((image_logits, text_logits))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return 0.5 * (F.cross_entropy(logits[0], target) + F.cross_entropy(logits[1], target))


def info_nce(image_embed: Tensor, text_embed: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric InfoNCE of paired embeddings, thesis Eq. 3.7.

    Rows are local, columns come from all processes, gathered with gradient.

    Args:
        image_embed: [n, c]; normalised here.
        text_embed: [n, c], row i is the positive of image row i; normalised here.
        scale: 1 / temperature, > 0.

    Returns:
        0-d; the mean over processes is the loss of the joined batch.

    Raises:
        ValueError: if the two shapes differ or are not [n, c].
    """
    if image_embed.shape != text_embed.shape or image_embed.dim() != 2:
        raise ValueError(
            'expected image and text embeddings of one shape [n, c], but got '
            f'{tuple(image_embed.shape)} and {tuple(text_embed.shape)}'
        )
    # Autocast would round the similarities, which are multiplied by up to 100.
    with torch.autocast(image_embed.device.type, enabled=False):
        image_embed = l2_normalize(_at_least_fp32(image_embed))
        text_embed = l2_normalize(_at_least_fp32(text_embed))
        image_logits = scale * image_embed @ gather(text_embed).T  # n x m
        text_logits = scale * text_embed @ gather(image_embed).T  # n x m
        return symmetric_cross_entropy(image_logits, text_logits)


def _at_least_fp32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


@MODELS.register_module()
class InfoNCELoss(LogitScale):
    """Symmetric InfoNCE between paired image and text embeddings (thesis Eq. 3.7).

    Highlighted region against highlighted text (L_hcl), or against the single noun (TCL's image
    level; thesis §4.4). Right for any number of processes.

    Args:
        text: value of the step that regions are compared with, 'text_embed' or 'nouns'.
        loss_weight: factor on the loss.
        init_temperature: initial temperature, > 0; learnable.
        max_scale: largest 1 / temperature.
    """

    def __init__(
        self,
        text: str,
        loss_weight: float = 1.0,
        init_temperature: float = 0.07,
        max_scale: float = 100.0,
    ) -> None:
        super().__init__(init_temperature, max_scale)
        self.text = text
        self.loss_weight = loss_weight

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d."""
        pairs = step.region_embed, step.value(self.text)
        return self.loss_weight * info_nce(*pairs, self.scale())
