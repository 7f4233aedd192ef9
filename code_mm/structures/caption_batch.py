"""The captions of a training batch as stacked tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmseg.structures import SegDataSample
from torch import Tensor


class CaptionBatch(NamedTuple):
    """Token ids of b captions and of their k selected nouns each.

    Attributes:
        caption_ids (Tensor): [b, l].
        token_labels (Tensor): [b, l]; -1 ignored, 0 a noun that was not selected, j the j-th
            selected noun (counted from 1).
        noun_ids (Tensor): [n, l_noun], n = k * b pairs, noun slot outermost.
        guide_ids (Tensor): [n, l_guide], each noun in a hand-written template.
        caption_length (int): Positions up to the last end token in ``caption_ids``; l if unknown.

    Noun and guide ids are cut to the longest text of the batch where the samples tell the lengths:
    what stands behind the end token has no influence on a backbone's embeddings. The captions keep
    all l positions, to all of which the text segmenter attends; ``caption_length`` tells what a
    highlighted caption needs.
    """

    caption_ids: Tensor
    token_labels: Tensor
    noun_ids: Tensor
    guide_ids: Tensor
    caption_length: int

    @property
    def nouns_per_caption(self) -> int:
        """The number k of selected nouns per caption."""
        return len(self.noun_ids) // len(self.caption_ids)

    @classmethod
    def from_samples(cls, data_samples: Sequence[SegDataSample]) -> CaptionBatch:
        """Stack what ``PackCaptionInputs`` put into the samples.

        Raises:
            ValueError: There is no sample, one carries no caption fields, or their sizes differ.
        """
        if not data_samples:
            raise ValueError('expected at least one data sample with a caption, but got none')
        caption_ids = _stack(data_samples, 'caption_ids')
        nouns = _stack(data_samples, 'noun_ids')[..., : _longest(data_samples, 'noun')]
        guides = _stack(data_samples, 'guide_ids')[..., : _longest(data_samples, 'guide')]
        return cls(
            caption_ids,
            _stack(data_samples, 'token_labels'),
            nouns.transpose(0, 1).flatten(0, 1),  # b k l -> (k b) l
            guides.transpose(0, 1).flatten(0, 1),
            _longest(data_samples, 'caption') or caption_ids.shape[1],
        )


def _stack(samples: Sequence[SegDataSample], field: str) -> Tensor:
    values = [sample.get(field) for sample in samples]
    for sample, value in zip(samples, values, strict=True):
        key = sample.metainfo.get('sample_key', 'without key')
        if value is None:
            raise ValueError(
                f'expected samples packed by PackCaptionInputs, but sample {key} has no {field}; '
                'use the transforms SelectNouns, TokenizeCaption and PackCaptionInputs'
            )
        if value.shape != values[0].shape:
            raise ValueError(
                f'expected {field} of one size in a batch, here {tuple(values[0].shape)}, but '
                f'sample {key} has {tuple(value.shape)}; use the same num_nouns and context '
                'lengths for all data'
            )
    return torch.stack(values)


def _longest(samples: Sequence[SegDataSample], kind: str) -> int | None:
    """The longest text of a kind, told by the loader: asking the ids would wait for the device."""
    lengths = [sample.metainfo.get('text_lengths', {}).get(kind) for sample in samples]
    return max(lengths) if all(lengths) else None
