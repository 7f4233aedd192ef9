"""Cross-entropy of the word masks against labels of the caption's tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from code_mm.ops import mean_over_processes
from code_mm.registry import MODELS

from ..co_decomposition import CoDecompositionStep

PSEUDO_LABELS = ('noun_tokens', 'argmax')
IGNORED = -1
"""Label of the tokens that do not count."""


def text_segmentation_loss(
    logits: Tensor, labels: Tensor, none_weight: float = 0.5, sync: bool = True
) -> Tensor:
    """Weighted cross-entropy over the k + 1 cases of every labelled token.

    ``sum(w[y] * nll) / sum(w[y])``. A batch without any labelled token gives 0, with a graph, so
    that the backward pass of all processes stays in step.

    Args:
        logits (Tensor): [b, k + 1, l], case 0 = no noun (thesis Eq. 3.2).
        labels (Tensor): Integers [b, l] in [0, k], or -1: does not count.
        none_weight (float): Weight of case 0; each noun weighs 1.
        sync (bool): Divide by the weights of all processes, which makes the mean over processes the
            loss of the joined batch; else by those of this one, as the authors' release does.

    Returns:
        Tensor: 0-d, fp32 at least.
    """
    if logits.dim() != 3 or labels.shape != (logits.shape[0], logits.shape[2]):
        raise ValueError(
            'expected logits [b, k + 1, l] and labels [b, l], but got '
            f'{tuple(logits.shape)} and {tuple(labels.shape)}'
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    weights = logits.new_ones(logits.shape[1])
    weights[0] = none_weight
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORED, reduction='sum')
    counted = labels != IGNORED
    weight_sum = (weights[labels.masked_fill(~counted, 0)] * counted).sum()
    if sync:
        weight_sum = mean_over_processes(weight_sum)
    return total / torch.where(weight_sum > 0, weight_sum, 1)


@MODELS.register_module()
class TextSegmentationLoss(nn.Module):
    """L_seg^t (thesis §3.2) with pseudo labels of either kind.

    Args:
        pseudo_label (str): 'noun_tokens': the label of a token is the selected noun it spells (as
            released; tokens outside nouns do not count). 'argmax': the most probable case under
            the current logits (the thesis' form).
        none_weight, sync: See :func:`text_segmentation_loss`.
    """

    def __init__(
        self,
        pseudo_label: str = 'noun_tokens',
        none_weight: float = 0.5,
        sync: bool = True,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if pseudo_label not in PSEUDO_LABELS:
            raise ValueError(
                f'expected pseudo_label to be one of {PSEUDO_LABELS}, but got {pseudo_label!r}'
            )
        self.pseudo_label, self.loss_weight = pseudo_label, loss_weight
        self.none_weight, self.sync = none_weight, sync

    def forward(self, step: CoDecompositionStep) -> Tensor:
        """Weighted loss of a training step, 0-d; start, end and padding never count."""
        labels = step.captions.token_labels
        if self.pseudo_label == 'argmax':
            labels = step.word_logits.detach().argmax(1)
        labels = labels.masked_fill(~step.word_positions, IGNORED)
        loss = text_segmentation_loss(step.word_logits, labels, self.none_weight, self.sync)
        return self.loss_weight * loss
