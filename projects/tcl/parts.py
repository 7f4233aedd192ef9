"""What TCL has in place of CoDe's prompts and of its nouns. None of it has weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from mmengine.model import BaseModule
from torch import Tensor

from code_mm.models.backbones import VisionLanguageBackbone
from code_mm.ops import l2_normalize
from code_mm.registry import MODELS, TRANSFORMS


@MODELS.register_module()
class PlainTextPrompt(BaseModule):
    """Embeds texts with the frozen text tower, with nothing learnt in front of them.

    In place of ``NounContextPrompt`` this makes the segmentor learn from whole texts (Cha et al.,
    CVPR 2023). Class names are put into the head's templates in prediction.

    Args:
        text_width (int, optional): Given to every noun prompt, not used by this one.
    """

    num_contexts = 0

    def __init__(self, text_width: int | None = None) -> None:
        super().__init__()

    def copy_from(self, backbone: VisionLanguageBackbone) -> None:
        """Nothing starts from the text tower."""

    def check_length(self, length: int, backbone: VisionLanguageBackbone) -> None:
        """Raise a ValueError where texts of ``length`` tokens do not fit the tower."""
        if length > backbone.context_length:
            raise ValueError(
                f'expected noun_ids of at most {backbone.context_length} tokens, the context '
                f'length, but got {length}; set '
                f'noun_context_length={backbone.context_length} in TokenizeCaption'
            )

    @torch.no_grad()
    def forward(self, noun_ids: Tensor, backbone: VisionLanguageBackbone) -> Tensor:
        """Unit-length embeddings [n, c] of texts, token ids [n, l_noun], without gradient."""
        self.check_length(noun_ids.shape[1], backbone)
        return l2_normalize(backbone.encode_text(noun_ids), dim=-1)


@MODELS.register_module()
class RegionBlanking(BaseModule):
    """Blanks out what a region mask leaves out: ``M * X``, the mean colour elsewhere.

    The text-grounded image of TCL. It equals a ``RegionHighlightingPrompt`` that does not learn,
    but has no weights, so that checkpoints need not have any.
    """

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Blank out all but the regions of n = k * b masks in b images.

        Args:
            image (Tensor): Normalised images [b, 3, H, W].
            mask (Tensor): Region masks [n, 1, h, w] in [0, 1], noun slot outermost.

        Returns:
            Tensor: Blanked images [n, 3, H, W].
        """
        mask = F.interpolate(mask, size=image.shape[-2:], mode='nearest')
        return (mask.unflatten(0, (-1, len(image))) * image).flatten(0, 1)


@TRANSFORMS.register_module()
class CaptionAsNoun(BaseTransform):
    """Make the whole caption the one "noun" of its image (k = 1), in place of ``SelectNouns``.

    No caption is skipped for having too few nouns. Give ``TokenizeCaption`` a
    ``noun_context_length`` of all positions; longer captions are cut.

    Required Keys:

    - caption (str)

    Added Keys:

    - nouns (list[str]): the caption
    - selected_nouns (list[str]): the caption
    """

    def transform(self, results: dict) -> dict:
        """Add the caption as the only noun."""
        results['nouns'] = [results['caption']]
        results['selected_nouns'] = [results['caption']]
        return results
