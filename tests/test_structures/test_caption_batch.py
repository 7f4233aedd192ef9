import pytest
import torch
from mmseg.structures import SegDataSample

from code_mm.structures import CaptionBatch


def sample(number, k=2, length=4, noun_length=3, **metainfo):
    """Ids that tell sample, noun and position apart: 100 * sample + 10 * noun + position."""
    packed = SegDataSample(metainfo=metainfo)
    base = 100 * number
    packed.set_field(base + torch.arange(length), 'caption_ids')
    packed.set_field(torch.full((length,), -1), 'token_labels')
    nouns = base + 10 * torch.arange(1, k + 1)[:, None]
    packed.set_field(nouns + torch.arange(noun_length), 'noun_ids')
    packed.set_field(nouns + torch.arange(length), 'guide_ids')
    return packed


def test_pairs_are_noun_major_and_cut_to_the_longest_of_the_batch():
    """Where the samples tell their lengths; captions keep all positions."""
    lengths = [dict(noun=2, guide=1, caption=2), dict(noun=1, guide=3, caption=3)]
    samples = [sample(i + 1, text_lengths=length) for i, length in enumerate(lengths)]
    batch = CaptionBatch.from_samples(samples)
    # row j * b + i is noun j of caption i
    assert batch.noun_ids.tolist() == [[110, 111], [210, 211], [120, 121], [220, 221]]
    assert batch.guide_ids[3].tolist() == [220, 221, 222]
    assert batch.caption_ids.tolist() == [[100, 101, 102, 103], [200, 201, 202, 203]]
    assert batch.token_labels.shape == (2, 4)
    assert (batch.caption_length, batch.nouns_per_caption) == (3, 2)
    untold = CaptionBatch.from_samples([samples[0], sample(2)])
    assert (untold.noun_ids.shape, untold.guide_ids.shape) == ((4, 3), (4, 4))
    assert untold.caption_length == 4


def test_samples_without_captions_or_of_different_sizes_are_named():
    whole = sample(1, sample_key='00000.tar/3')
    del whole.noun_ids, whole.token_labels
    for samples, match in (
        ([sample(2), whole], r'00000\.tar/3 has no noun_ids; use the transforms SelectNouns'),
        ([SegDataSample()], 'sample without key has no'),
        (None, 'at least one data sample with a caption, but got none'),
        ([sample(1), sample(2, k=3, sample_key='b')], r'noun_ids .* \(2, 3\).* b has \(3, 3\)'),
    ):
        with pytest.raises(ValueError, match=match):
            CaptionBatch.from_samples(samples)
