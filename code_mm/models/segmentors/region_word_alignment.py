"""CoDe's losses on the features of another network."""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from code_mm.registry import MODELS

from .code_segmentor import CoDeSegmentor


@MODELS.register_module()
class RegionWordAlignment(CoDeSegmentor):
    """CoDe without an image segmenter: it aligns the regions that another network sees.

    Masks of a caption's nouns are found in the given features; highlighted regions and words meet
    in a frozen CLIP (thesis §3.3, Eq. 3.7). A part of ``CaptionAlignedSegmentor``; the config of
    any CoDe model may stand here, whose image segmenter is then left out.

    Args:
        image_size (int, optional): Side in pixels to which images are resized for CLIP; None
            leaves them as they are.
        image_segmenter (dict, optional): Not built.
        **kwargs: Those of ``CoDeSegmentor``. Scale and bias of ``decode_head`` make the masks.
    """

    def __init__(
        self, image_size: int | None = None, image_segmenter: dict | None = None, **kwargs
    ) -> None:
        super().__init__(image_segmenter=None, **kwargs)
        self.image_size = image_size

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample], features: Tensor
    ) -> dict[str, Tensor]:
        """All losses of captioned images, already weighted.

        Args:
            inputs (Tensor): Normalised images [b, 3, H, W].
            data_samples (list[SegDataSample]): Captions, see ``CaptionBatch``.
            features (Tensor): Unit-length pixel embeddings [b, c, h, w] of the network that learns.

        Returns:
            dict[str, Tensor]: ``loss_<name>`` for every name of the key ``losses``.
        """
        if self.image_size is not None:
            size = (self.image_size, self.image_size)
            inputs = F.interpolate(
                inputs, size, mode='bilinear', align_corners=False, antialias=True
            )
        return self.align(inputs, features, data_samples)

    def _start_copies(self) -> None:
        if self.noun_prompt is not None:
            self.noun_prompt.copy_from(self.backbone.text)
