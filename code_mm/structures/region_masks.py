"""What the image segmenter finds for the nouns of a batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RegionMasks(NamedTuple):
    """Dense features and the masks of nouns in them, on the mask grid.

    Attributes:
        features (Tensor): Unit-length pixel-wise embedding x^v [b, c, h, w].
        soft_all (Tensor): Soft masks of the m nouns of the global batch in every image
            [b, m, h, w], in (0, 1).
        soft (Tensor): Soft masks of every image's own nouns [n, 1, h, w].
        hard (Tensor): Straight-through hard masks of the same [n, 1, h, w], in {0, 1}.
    """

    features: Tensor
    soft_all: Tensor
    soft: Tensor
    hard: Tensor

    def negative_mean(self) -> Tensor:
        """Mean of the soft masks of the nouns that are not an image's own.

        Every of the n image-noun pairs has the other m - 1 nouns as negatives, so the n x (m - 1)
        negative masks need not be laid out: their sum is the whole less the positives.
        """
        m = self.soft_all.shape[1]
        whole, own = self.soft_all.float().mean(), self.soft.float().mean()
        return (m * whole - own) / max(m - 1, 1)
