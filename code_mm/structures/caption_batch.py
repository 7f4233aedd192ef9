"""The captions of a training batch as stacked tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

_FIELDS = ('caption_ids', 'token_labels', 'noun_ids', 'guide_ids')


class CaptionBatch(NamedTuple):
    """Token ids of b captions and of their k selected nouns each.

    Attributes:
        caption_ids (Tensor): [b, l].
        token_labels (Tensor): [b, l]; -1 ignored, 0 a noun that was not selected, j the j-th
            selected noun (counted from 1).
        noun_ids (Tensor): [n, l_noun], n = k * b pairs, noun slot outermost.
        guide_ids (Tensor): [n, l], each noun in a hand-written template.
    """

    caption_ids: Tensor
    token_labels: Tensor
    noun_ids: Tensor
    guide_ids: Tensor

    @property
    def nouns_per_caption(self) -> int:
        """The number k of selected nouns per caption."""
        return len(self.noun_ids) // len(self.caption_ids)

    @classmethod
    def from_samples(cls, data_samples: Sequence[SegDataSample]) -> CaptionBatch:
        """Stack what ``PackCaptionInputs`` put into the samples.

        Raises:
            ValueError: A sample carries no caption fields.
        """
        for sample in data_samples or []:
            missing = [field for field in _FIELDS if field not in sample]
            if missing:
                raise ValueError(
                    f'expected samples packed by PackCaptionInputs, but sample '
                    f'{sample.metainfo.get("sample_key", "without key")} has no {missing}; use '
                    'the transforms SelectNouns, TokenizeCaption and PackCaptionInputs'
                )
        if not data_samples:
            raise ValueError('expected at least one data sample with a caption, but got none')
        caption_ids, token_labels, noun_ids, guide_ids = (
            torch.stack([getattr(sample, field) for sample in data_samples]) for field in _FIELDS
        )
        # b k l -> (k b) l
        return cls(
            caption_ids,
            token_labels,
            noun_ids.transpose(0, 1).flatten(0, 1),
            guide_ids.transpose(0, 1).flatten(0, 1),
        )
